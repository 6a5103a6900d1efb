/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The test runner: a registry of cases and what they may say.
 *
 * Each case runs in a forked child with a timeout, and its descriptors are
 * counted before and after, so one that crashes, hangs or leaks is one failed
 * case.  A program is tests/test_main.c and any number of files with TEST().
 *
 *	PROGRAM [--list] [--only SUBSTRING] [--seed N] [--ops N] [--no-fork]
 *
 * Exit: 0 all passed, 1 some failed, 77 all that ran asked to be skipped.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct test_case {
	const char *name;
	const char *file;
	void (*run)(void);
	int timeout_s; /* 0: 60 */
	struct test_case *next;
};

void test_register(struct test_case *test);

#define TEST_TIMEOUT(name, seconds)                                            \
	static void test__##name(void);                                        \
	static struct test_case test_case__##name = {#name, __FILE__,          \
	    test__##name, (seconds), NULL};                                    \
	__attribute__((constructor)) static void test_ctor__##name(void)       \
	{                                                                      \
		test_register(&test_case__##name);                             \
	}                                                                      \
	static void test__##name(void)

/* A case: TEST(module__does_what_when) { ... } */
#define TEST(name) TEST_TIMEOUT(name, 0)

/* The seed of this run: --seed, or $HOLDFAST_SEED, or a fresh one; printed. */
uint64_t test_seed(void);
/* --ops, or $HOLDFAST_OPS, or `otherwise`. */
uint64_t test_ops(uint64_t otherwise);
/* A small generator for cases; deterministic from its state. */
uint64_t test_random(uint64_t *state);

/* Open descriptors of this process. */
int test_nfds(void);

_Noreturn void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* End the case as skipped, with the reason. */
_Noreturn void test_skip(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

#define ASSERT_TRUE(cond)                                                      \
	do {                                                                   \
		if (!(cond))                                                   \
			test_fail(__FILE__, __LINE__, "not true: %s", #cond);  \
	} while (0)
#define ASSERT_FALSE(cond) ASSERT_TRUE(!(cond))
#define ASSERT_NULL(p)     ASSERT_TRUE((p) == NULL)
#define ASSERT_NOT_NULL(p) ASSERT_TRUE((p) != NULL)

/* Literals are ints and most figures are not: no word about signs here. */
#define TEST_CMP_(a, op, b)                                                    \
	do {                                                                   \
		_Pragma("GCC diagnostic push") _Pragma(                        \
		    "GCC diagnostic ignored \"-Wsign-compare\"") __typeof__(a) \
		    test_a_ = (a);                                             \
		__typeof__(b) test_b_ = (b);                                   \
		if (!(test_a_ op test_b_))                                     \
			test_fail(__FILE__, __LINE__,                          \
			    "%s " #op " %s: %#llx, %#llx", #a, #b,             \
			    (unsigned long long)test_a_,                       \
			    (unsigned long long)test_b_);                      \
		_Pragma("GCC diagnostic pop")                                  \
	} while (0)
#define ASSERT_EQ(a, b) TEST_CMP_(a, ==, b)
#define ASSERT_NE(a, b) TEST_CMP_(a, !=, b)
#define ASSERT_LT(a, b) TEST_CMP_(a, <, b)
#define ASSERT_LE(a, b) TEST_CMP_(a, <=, b)
#define ASSERT_GT(a, b) TEST_CMP_(a, >, b)
#define ASSERT_GE(a, b) TEST_CMP_(a, >=, b)

#define ASSERT_STREQ(a, b)                                                     \
	do {                                                                   \
		const char *test_s_ = (a);                                     \
		const char *test_t_ = (b);                                     \
		if (test_s_ == NULL || strcmp(test_s_, test_t_) != 0)          \
			test_fail(__FILE__, __LINE__,                          \
			    "%s is \"%s\", not \"%s\"", #a,                    \
			    test_s_ != NULL ? test_s_ : "(null)", test_t_);    \
	} while (0)
/* `text` holds `part` somewhere. */
#define ASSERT_HAS(text, part)                                                 \
	do {                                                                   \
		const char *test_s_ = (text);                                  \
		if (test_s_ == NULL || strstr(test_s_, (part)) == NULL)        \
			test_fail(__FILE__, __LINE__,                          \
			    "%s is \"%s\", without \"%s\"", #text,             \
			    test_s_ != NULL ? test_s_ : "(null)", (part));     \
	} while (0)
