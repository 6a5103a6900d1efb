/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Bounds of the protocol, for both sides.
 */

#define HOLDFAST_SOCKET_PATH "/run/holdfast/holdfast.sock"
#define HOLDFAST_VERSION_MIN 1
#define HOLDFAST_VERSION_MAX 1
#define HOLDFAST_PACKET_MAX  65536 /* bytes in one packet, either way */
#define HOLDFAST_BATCH_MAX   256   /* requests in one packet */
#define HOLDFAST_FDS_MAX     64    /* fds in one packet from the daemon */
#define HOLDFAST_NAME_MAX    63    /* bytes in a client's or a map's name */
#define HOLDFAST_TYPE_MAX    31    /* bytes in the name of a malloc type */
#define HOLDFAST_MESSAGE_MAX 512   /* bytes in a sentence */
#define HOLDFAST_UNPACK_MAX  (256u << 10) /* bytes unpacking may allocate */
#define HOLDFAST_ENTRIES_MAX 256          /* entries in one reply */
