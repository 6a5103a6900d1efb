/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "server/cleanup.h"
#include "server/listener.h"
#include "server/log.h"
#include "server/server.h"
#include "server/transport.h"

#define LISTEN_BACKLOG  512
#define ACCEPT_PER_TURN 16
#define LOCK_TRIES      100 /* of 10 ms */

void
listener_init(struct listener *listener)
{
	*listener = (struct listener){.fd = -1, .dirfd = -1, .spare = -1};
}

/* ---- Opening ----------------------------------------------------- */

/* Open the folder of `path`, making its last part, and note the name. */
static int
listener_open_folder(struct listener *listener, const char *path)
{
	char folder[CONFIG_PATH_MAX] = ".";
	const char *slash = strrchr(path, '/');
	const char *name = slash == NULL ? path : slash + 1;

	if (strlen(path) >= CONFIG_PATH_MAX || name[0] == '\0')
		return -ENAMETOOLONG;
	if (slash == path)
		(void)snprintf(folder, sizeof(folder), "/");
	else if (slash != NULL)
		(void)snprintf(folder, sizeof(folder), "%.*s",
		    (int)(slash - path), path);
	if (mkdir(folder, 0755) < 0 && errno != EEXIST)
		return error_origin(-errno);
	listener->dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (listener->dirfd < 0)
		return error_origin(-errno);
	(void)snprintf(listener->name, sizeof(listener->name), "%s", name);
	return 0;
}

/* One daemon at a time looks, removes and binds in a folder. */
static int
listener_lock(const struct listener *listener)
{
	static const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(listener->dirfd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return error_origin(-errno);
		(void)nanosleep(&pause, NULL);
	}
	return error_origin(-EADDRINUSE);
}

/* Remove a socket file that nobody listens on. */
static int
listener_clear(const struct listener *listener, const struct sockaddr_un *addr)
{
	_cleanup_(fd_closep) int fd = -1;
	struct stat st;

	if (fstatat(listener->dirfd, listener->name, &st, AT_SYMLINK_NOFOLLOW) <
	    0)
		return errno == ENOENT ? 0 : error_origin(-errno);
	if (!S_ISSOCK(st.st_mode))
		return error_origin(-EEXIST);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_origin(-errno);
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
	    errno != ECONNREFUSED)
		return error_origin(-EADDRINUSE);
	if (unlinkat(listener->dirfd, listener->name, 0) < 0)
		return error_origin(-errno);
	log_info("stale_socket", "text=\"removed\"");
	return 0;
}

static int
listener_bind(struct listener *listener, const struct sockaddr_un *addr,
    mode_t mode)
{
	mode_t before = umask(0777 & ~mode);
	struct stat st;
	int r;

	r = bind(listener->fd, (const struct sockaddr *)addr, sizeof(*addr));
	(void)umask(before);
	if (r < 0)
		return error_origin(-errno);
	if (fstatat(listener->dirfd, listener->name, &st, AT_SYMLINK_NOFOLLOW) <
	    0)
		return error_origin(-errno);
	listener->inode = st.st_ino;
	if (listen(listener->fd, LISTEN_BACKLOG) < 0)
		return error_origin(-errno);
	return 0;
}

int
listener_open(struct listener *listener, const char *path, mode_t mode)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int r;

	r = listener_open_folder(listener, path);
	if (r < 0)
		return r;
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	listener->fd =
	    socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0 || listener->spare < 0)
		return error_origin(-errno);
	transport_refuse_fds(listener->fd);
	r = listener_lock(listener);
	if (r < 0)
		return r;
	r = listener_clear(listener, &addr);
	if (r == 0)
		r = listener_bind(listener, &addr, mode);
	(void)flock(listener->dirfd, LOCK_UN);
	return r;
}

void
listener_close(struct listener *listener)
{
	if (listener->event != NULL)
		event_free(take_ptr(listener->event));
	fd_closep(&listener->fd);
	fd_closep(&listener->spare);
}

void
listener_unlink(const struct listener *listener)
{
	struct stat st;

	if (listener->inode == 0 ||
	    fstatat(listener->dirfd, listener->name, &st, AT_SYMLINK_NOFOLLOW) <
		0 ||
	    st.st_ino != listener->inode)
		return;
	if (unlinkat(listener->dirfd, listener->name, 0) < 0)
		log_warn("socket_left", "errno=%d", errno);
}

/* ---- Accepting --------------------------------------------------- */

/*
 * No descriptor is left: take the connection with the spare one and close it,
 * or the loop would be woken for it for ever.
 */
static void
listener_shed(struct listener *listener)
{
	int fd;

	log_warn("accept_shed", "text=\"out of descriptors\"");
	fd_closep(&listener->spare);
	fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		(void)close(fd); /* that was the point */
	listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* false: nothing more to accept now. */
static bool
listener_accept(struct listener *listener)
{
	int r, fd;

	fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			listener_shed(listener);
		else if (errno == ECONNABORTED || errno == EINTR)
			return true;
		else if (errno != EAGAIN)
			log_error("accept", "errno=%d", errno);
		return false;
	}
	r = server_accept(listener->server, fd);
	if (r < 0) {
		(void)close(fd); /* the client sees the hang-up */
		log_warn("session_refused", "errno=%d text=\"%s\"", -r,
		    strerror(-r));
	}
	return true;
}

static void
listener_readable(evutil_socket_t fd, short what, void *arg)
{
	struct listener *listener = arg;

	(void)fd;
	(void)what;
	for (int i = 0; i < ACCEPT_PER_TURN; i++) {
		if (!listener_accept(listener))
			return;
	}
}

int
listener_start(struct listener *listener, struct server *server)
{
	listener->server = server;
	listener->event = event_new(server->base, listener->fd,
	    EV_READ | EV_PERSIST, listener_readable, listener);
	if (listener->event == NULL || event_add(listener->event, NULL) < 0)
		return error_origin(-ENOMEM);
	return 0;
}
