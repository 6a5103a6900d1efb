/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/cleanup.h"
#include "server/log.h"
#include "server/notify.h"

int
notify_open(void)
{
	_cleanup_(fd_closep) int fd = -1;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path == NULL ? 0 : strlen(path);

	if (len < 2 || len >= sizeof(addr.sun_path) ||
	    (path[0] != '/' && path[0] != '@'))
		return -1;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0'; /* the abstract name space */
	(void)unsetenv("NOTIFY_SOCKET");
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&addr,
			  (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				      len)) < 0) {
		log_warn("notify", "errno=%d", errno);
		return -1;
	}
	return take_fd(&fd);
}

void
notify_send(int fd, const char *state)
{
	if (fd < 0)
		return;
	if (send(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_warn("notify", "errno=%d", errno);
}

void
notify_ready_fd(int ready_fd)
{
	static const char line[] = "READY=1\n";

	if (ready_fd < 0)
		return;
	if (write(ready_fd, line, sizeof(line) - 1) < 0)
		log_warn("ready_fd", "errno=%d", errno);
	(void)close(ready_fd);
}
