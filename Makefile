# SPDX-License-Identifier: BSD-2-Clause
#
# The daily loop, thin over Meson.  `make help` lists it.

MESON = meson
CLANG_FORMAT = clang-format
SOURCES = $(shell git ls-files '*.c' '*.h')

.PHONY: help build check quick asan tsan cross coverage fuzz-smoke fuzz-oss bench demo format tidy clean

help: ## This list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' Makefile

build/build.ninja:
	CC=gcc $(MESON) setup build

build: build/build.ninja ## Compile into build/
	ninja -C build

quick: build ## Build, lint, unit and model tests: under a minute
	$(MESON) test -C build --no-rebuild --print-errorlogs --suite unit --suite model --suite lint

check: ## Everything that CI runs
	./check

asan: ## Unit, model and wire tests under clang with ASan and UBSan
	[ -f build-asan/build.ninja ] || CC=clang $(MESON) setup build-asan -Db_sanitize=address,undefined -Db_lundef=false -Dinvariants=2
	ninja -C build-asan
	$(MESON) test -C build-asan --no-rebuild --print-errorlogs --no-suite lint

tsan: ## The server's tests under TSan
	[ -f build-tsan/build.ninja ] || CC=clang $(MESON) setup build-tsan -Db_sanitize=thread -Db_lundef=false -Ddpdk=disabled
	ninja -C build-tsan
	$(MESON) test -C build-tsan --no-rebuild --print-errorlogs --suite tsan

cross: ## arch/ and core/ for aarch64 and riscv64, their unit tests under QEMU
	tools/cross.sh

coverage: ## What the corpora cover of core/, and whether that is less than it was
	fuzz/hffuzz cov --gate

fuzz-smoke: ## Replay all corpora, then every engine on every target for a moment
	fuzz/hffuzz smoke

fuzz-oss: ## .clusterfuzzlite/build.sh and every target, as OSS-Fuzz runs them
	tests/fuzz/test_oss_fuzz.sh

bench: build ## Run the benchmarks (root, for huge pages)
	$(MESON) test -C build --no-rebuild --benchmark --verbose

demo: ## The main job on real huge pages
	./demo

format: ## Format every source file
	$(CLANG_FORMAT) -i $(SOURCES)

tidy: build ## clang-tidy over the build
	ninja -C build clang-tidy

clean: ## Remove the build folders
	rm -rf build build-*
