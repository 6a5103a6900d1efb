/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool
is_text(const char *path)
{
	size_t n = strlen(path);

	return n >= 4 && strcmp(path + n - 4, ".hfp") == 0;
}

bool
fuzz_read_program(const char *path, struct hf_buf *program)
{
	struct hf_buf input = {0};
	struct hf_error error;
	FILE *in = fopen(path, "rb");
	char block[4096];
	bool good = true;
	size_t n;

	if (in == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	while ((n = fread(block, 1, sizeof(block), in)) > 0)
		hf_buf_put(&input, block, n);
	(void)fclose(in); /* only read */
	hf_buf_put(&input, "", 0);
	if (!is_text(path)) {
		hf_buf_put(program, input.p, input.len);
	} else if (!hf_assemble(input.p, input.len, program, &error)) {
		fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
		good = false;
	}
	hf_buf_free(&input);
	return good;
}

bool
fuzz_write_program(const char *path, const uint8_t *data, size_t size)
{
	struct hf_buf text = {0};
	FILE *out = fopen(path, "wb");
	bool good = out != NULL;

	if (good && is_text(path)) {
		hf_disassemble(data, size, &text);
		good = fwrite(text.p, 1, text.len, out) == text.len;
	} else if (good) {
		good = fwrite(data, 1, size, out) == size;
	}
	if (out != NULL && fclose(out) != 0)
		good = false;
	if (!good)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	hf_buf_free(&text);
	return good;
}
