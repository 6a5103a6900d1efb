/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Owners, groups and modes of maps, as people write them.
 */

#include <stdbool.h>
#include <stdint.h>

#define MAP_MODE_TEXT 10 /* "rw-r-----" */

/* Octal, up to 0777. */
bool map_mode_parse(const char *text, uint32_t *modep);
/* A name or a number, or cli_usage(). */
uint32_t map_mode_uid(const char *text);
uint32_t map_mode_gid(const char *text);
void map_mode_text(uint32_t mode, char text[MAP_MODE_TEXT]);
