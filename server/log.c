/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/vm.h"
#include "server/log.h"

static enum log_level log_level = LOG_LEVEL_INFO;

static const char *const log_level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

void
log_set_level(enum log_level level)
{
	log_level = level;
}

enum log_level
log_get_level(void)
{
	return log_level;
}

int
log_level_parse(const char *text, enum log_level *levelp)
{
	for (size_t i = 0; i < nitems(log_level_names); i++) {
		if (strcmp(text, log_level_names[i]) == 0) {
			*levelp = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void
log_event(enum log_level level, const char *event, const char *format, ...)
{
	char line[1024];
	va_list args;
	size_t len;

	if (level > log_level)
		return;
	(void)snprintf(line, sizeof(line), "level=%s event=%s ",
	    log_level_names[level], event);
	len = strlen(line);
	va_start(args, format);
	(void)vsnprintf(line + len, sizeof(line) - len - 1, format, args);
	va_end(args);
	len = strlen(line);
	line[len++] = '\n';
	/* A log that cannot be written must not stop the service. */
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}

int
error_origin_at(int r, const char *file, int line)
{
	if (r < 0)
		log_debug("errno", "file=%s line=%d errno=%d text=\"%s\"", file,
		    line, -r, strerror(-r));
	return r;
}
