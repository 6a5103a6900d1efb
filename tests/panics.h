/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* For what callers may not do: it is asserted, not refused. */

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

/* Does the call end in an assertion? */
#define ASSERT_PANICS(call)                                                    \
	do {                                                                   \
		pid_t pid_ = fork();                                           \
		int status_ = 0;                                               \
		if (pid_ == 0) {                                               \
			(void)close(2);                                        \
			(void)(call);                                          \
			_exit(0);                                              \
		}                                                              \
		ASSERT_EQ(waitpid(pid_, &status_, 0), pid_);                   \
		ASSERT_TRUE(WIFSIGNALED(status_));                             \
		ASSERT_EQ(WTERMSIG(status_), SIGABRT);                         \
	} while (0)
