/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * One line per event on standard error: key=value, never a client's bytes and
 * never a physical address.
 *
 * Any thread.  A line is one write(2), so lines do not mix.
 */

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* "error", "warn", "info", "debug".  -EINVAL: none of them. */
int log_level_parse(const char *text, enum log_level *levelp);

/*
 * Write `level=... event=EVENT` and the formatted rest, if the level is on.
 * `event` is a word; `format` gives key=value pairs.
 */
void log_event(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(...) log_event(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_event(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_event(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                         \
	do {                                                                   \
		if (log_get_level() >= LOG_LEVEL_DEBUG)                        \
			log_event(LOG_LEVEL_DEBUG, __VA_ARGS__);               \
	} while (0)

/* Say where an errno was first seen (debug), and pass it on unchanged. */
int error_origin_at(int r, const char *file, int line);
#define error_origin(r) error_origin_at((r), __FILE__, __LINE__)
