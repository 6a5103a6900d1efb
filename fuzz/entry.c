/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The front end of libFuzzer and of AFL++ (through its libFuzzer driver).
 */

#include "fuzz/target.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_report rep;

	fuzz_target.run(data, size, &rep);
	fuzz_run_again(data, size, &rep);
	fuzz_count(&rep);
	if (rep.found) {
		fuzz_print(&rep, data, size);
		abort();
	}
	return 0;
}
