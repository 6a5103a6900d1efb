/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The server's small parts by themselves: accounts, descriptor lists, the
 * transport, numbers, workers, options, sentences.
 */

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/config.h"
#include "server/fdlist.h"
#include "server/idtable.h"
#include "server/quota.h"
#include "server/status.h"
#include "server/ticker.h"
#include "server/transport.h"
#include "server/worker.h"
#include "tests/test.h"

/* ---- quota.c ----------------------------------------------------- */

TEST(quota__charges_up_to_the_limit_and_not_beyond)
{
	struct quota_charge a = {0}, b = {0};
	struct quota_limits limits;
	struct quota quota;

	quota_limits_default(&limits);
	limits.limit[QUOTA_FDS] = 10;
	quota_init(&quota, &limits);
	ASSERT_EQ(quota_charge(&a, &quota, QUOTA_FDS, 7), 0);
	ASSERT_EQ(quota_charge(&b, &quota, QUOTA_FDS, 4), -EDQUOT);
	ASSERT_EQ(quota.used[QUOTA_FDS], 7u);
	ASSERT_EQ(quota_charge(&b, &quota, QUOTA_FDS, 3), 0);
	ASSERT_FALSE(quota_is_empty(&quota));
	quota_discharge(&a);
	quota_discharge(&a);
	ASSERT_EQ(quota.used[QUOTA_FDS], 3u);
	ASSERT_EQ(quota.highwater[QUOTA_FDS], 10u);
	quota_discharge(&b);
	ASSERT_TRUE(quota_is_empty(&quota));
}

TEST(quota__a_token_changes_its_worth_without_wrapping)
{
	struct quota_charge a = {0}, b = {0};
	struct quota_limits limits;
	struct quota quota;

	quota_limits_default(&limits);
	limits.limit[QUOTA_BYTES] = UINT64_MAX;
	quota_init(&quota, &limits);
	ASSERT_EQ(quota_charge(&a, &quota, QUOTA_BYTES, 100), 0);
	ASSERT_EQ(quota_charge(&b, &quota, QUOTA_BYTES, UINT64_MAX - 50),
	    -EDQUOT);
	ASSERT_EQ(quota_recharge(&a, UINT64_MAX), 0);
	ASSERT_EQ(quota_recharge(&a, 1), 0);
	quota.limit[QUOTA_BYTES] = 0; /* lowered below what is in use */
	ASSERT_EQ(quota_recharge(&a, 2), -EDQUOT);
	ASSERT_EQ(quota_recharge(&a, 1), 0);
	quota_discharge(&a);
	ASSERT_EQ(quota.used[QUOTA_BYTES], 0u);
}

/* ---- fdlist.c ---------------------------------------------------- */

TEST(fdlist__a_borrowing_list_closes_nothing_and_a_copy_its_own)
{
	struct fdlist list, copy;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int nfds = test_nfds();

	fdlist_init(&list);
	ASSERT_EQ(fdlist_index(&list, fd), 0);
	ASSERT_EQ(fdlist_index(&list, STDERR_FILENO), 1);
	ASSERT_EQ(fdlist_index(&list, fd), 0);
	ASSERT_EQ(fdlist_dup(&list, &copy), 0);
	ASSERT_EQ(test_nfds(), nfds + 2);
	fdlist_close(&list);
	ASSERT_EQ(test_nfds(), nfds + 2);
	fdlist_close(&copy);
	ASSERT_EQ(test_nfds(), nfds);
	(void)close(fd);
}

TEST(fdlist__is_full_at_its_bound_and_fails_whole)
{
	struct fdlist list, more;

	fdlist_init(&list);
	fdlist_init(&more);
	for (int i = 0; i < HOLDFAST_FDS_MAX; i++)
		ASSERT_EQ(fdlist_add(&list, STDERR_FILENO), 0);
	ASSERT_EQ(fdlist_add(&list, STDERR_FILENO), -ENOSPC);
	ASSERT_EQ(fdlist_add(&more, STDERR_FILENO), 0);
	ASSERT_EQ(fdlist_append(&list, &more), -ENOSPC);
	ASSERT_EQ(list.n, (size_t)HOLDFAST_FDS_MAX);
	list.fds[1] = 1 << 20; /* not open: the second duplicate fails */
	ASSERT_EQ(fdlist_dup(&list, &more), -EBADF);
	ASSERT_EQ(more.n, 0u);
}

/* ---- transport.c ------------------------------------------------- */

static void
pair_open(int fds[2])
{
	ASSERT_EQ(socketpair(AF_UNIX,
		      SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
	    0);
}

TEST(transport__tells_packets_nothing_and_the_end_apart)
{
	struct transport transport;
	size_t len = 0;
	char buf[8];
	int fds[2];

	pair_open(fds);
	transport_init(&transport, fds[0]);
	ASSERT_EQ(transport_recv(&transport, buf, sizeof(buf), &len),
	    TRANSPORT_AGAIN);
	ASSERT_EQ(send(fds[1], "abc", 3, 0), 3);
	ASSERT_EQ(transport_recv(&transport, buf, sizeof(buf), &len),
	    TRANSPORT_PACKET);
	ASSERT_EQ(len, 3u);
	ASSERT_EQ(send(fds[1], "123456789", 9, 0), 9);
	ASSERT_EQ(transport_recv(&transport, buf, sizeof(buf), &len),
	    TRANSPORT_BROKEN);
	(void)close(fds[1]);
	ASSERT_EQ(transport_recv(&transport, buf, sizeof(buf), &len),
	    TRANSPORT_END);
	transport_fini(&transport);
	(void)close(fds[0]);
}

static ssize_t
send_an_fd(int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.align = {.cmsg_level = SOL_SOCKET,
			 .cmsg_type = SCM_RIGHTS,
			 .cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec iov = {(void *)(uintptr_t) "abc", 3};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};
	const int sent = STDERR_FILENO;

	memcpy(CMSG_DATA(&control.align), &sent, sizeof(sent));
	return sendmsg(fd, &msg, 0) < 0 ? -errno : 0;
}

/* Both ways to keep descriptors out: by the kernel, and on receipt. */
TEST(transport__takes_no_descriptor)
{
	struct transport transport;
	size_t len = 0;
	char buf[8];
	int fds[2], nfds;

	pair_open(fds);
	nfds = test_nfds();
	transport_init(&transport, fds[0]);
	ASSERT_FALSE(transport.deaf);
	ASSERT_EQ(send_an_fd(fds[1]), 0);
	ASSERT_EQ(transport_recv(&transport, buf, sizeof(buf), &len),
	    TRANSPORT_BROKEN);
	transport_refuse_fds(fds[0]);
	transport_init(&transport, fds[0]);
	if (transport.deaf)
		ASSERT_EQ(send_an_fd(fds[1]), -EPERM);
	ASSERT_EQ(send(fds[1], "abc", 3, 0), 3);
	ASSERT_EQ(transport_recv(&transport, buf, sizeof(buf), &len),
	    TRANSPORT_PACKET);
	ASSERT_EQ(send(fds[1], "123456789", 9, 0), 9);
	ASSERT_EQ(transport_recv(&transport, buf, sizeof(buf), &len),
	    TRANSPORT_BROKEN);
	ASSERT_EQ(test_nfds(), nfds);
	transport_fini(&transport);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

TEST(transport__queues_what_the_socket_refuses_and_keeps_the_order)
{
	struct transport transport;
	struct fdlist list;
	uint32_t n = 0, got, want = 0;
	int fds[2], nfds;

	pair_open(fds);
	nfds = test_nfds();
	transport_init(&transport, fds[0]);
	fdlist_init(&list);
	while (transport.queued_bytes < 40 * sizeof(n)) {
		ASSERT_EQ(transport_send(&transport, &n, sizeof(n), &list), 0);
		n++;
	}
	ASSERT_TRUE(transport_is_blocked(&transport));
	ASSERT_FALSE(transport_is_drained(&transport));
	ASSERT_EQ(fdlist_add(&list, STDERR_FILENO), 0);
	ASSERT_EQ(transport_send(&transport, &n, sizeof(n), &list), 0);
	n++;
	ASSERT_EQ(test_nfds(), nfds + 1); /* the queue's own */
	while (want < n) {
		ASSERT_EQ(recv(fds[1], &got, sizeof(got), 0),
		    (ssize_t)sizeof(got));
		ASSERT_EQ(got, want);
		want++;
		ASSERT_EQ(transport_flush(&transport), 0);
	}
	ASSERT_EQ(transport.queued_bytes, 0u);
	ASSERT_EQ(transport.queued_fds, 0u);
	ASSERT_TRUE(transport_is_drained(&transport));
	ASSERT_EQ(test_nfds(), nfds);
	transport_fini(&transport);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

TEST(transport__its_queue_is_bounded)
{
	static char packet[32768];
	struct transport transport;
	struct fdlist list;
	int fds[2], nfds, r;

	pair_open(fds);
	nfds = test_nfds();
	transport_init(&transport, fds[0]);
	fdlist_init(&list);
	for (int i = 0; i < 8; i++)
		ASSERT_EQ(fdlist_add(&list, STDERR_FILENO), 0);
	do
		r = transport_send(&transport, packet, sizeof(packet), &list);
	while (r == 0);
	ASSERT_EQ(r, -ENOBUFS);
	ASSERT_TRUE(transport.queued_bytes <= TRANSPORT_QUEUE_BYTES);
	ASSERT_TRUE(transport.queued_fds <= TRANSPORT_QUEUE_FDS);
	transport_fini(&transport);
	ASSERT_EQ(test_nfds(), nfds);
	(void)close(fds[1]);
	r = transport_send(&transport, packet, 1, NULL);
	ASSERT_TRUE(r == -EPIPE || r == -ECONNRESET);
	(void)close(fds[0]);
}

/* ---- idtable.c --------------------------------------------------- */

TEST(idtable__numbers_are_never_reused_soon_and_never_foreign)
{
	struct idtable mine, theirs;
	uint64_t first, second, other;
	int a, b;

	idtable_init(&mine, 1);
	idtable_init(&theirs, 2);
	ASSERT_EQ(idtable_add(&mine, ID_BUFFER, &a, &first), 0);
	ASSERT_EQ(idtable_add(&theirs, ID_BUFFER, &b, &other), 0);
	ASSERT_TRUE(first != 0 && first != other);
	ASSERT_TRUE(idtable_get(&mine, ID_BUFFER, first) == &a);
	ASSERT_NULL(idtable_get(&mine, ID_MAP, first));
	ASSERT_NULL(idtable_get(&mine, ID_BUFFER, other));
	ASSERT_NULL(idtable_get(&mine, ID_BUFFER, 0));
	ASSERT_NULL(idtable_get(&mine, ID_NONE, first));
	idtable_remove(&mine, first);
	ASSERT_NULL(idtable_get(&mine, ID_BUFFER, first));
	ASSERT_NULL(idtable_get(&mine, ID_NONE, first));
	ASSERT_EQ(idtable_add(&mine, ID_BUFFER, &a, &second), 0);
	ASSERT_NE(first, second);
	idtable_fini(&mine);
	idtable_fini(&theirs);
}

TEST(idtable__walks_one_kind_in_order)
{
	uint64_t ids[100], id = 0;
	struct idtable table;
	void *object;
	int n = 0, dummy;

	idtable_init(&table, 7);
	for (size_t i = 0; i < nitems(ids); i++)
		ASSERT_EQ(idtable_add(&table, i % 2 ? ID_MAP : ID_BUFFER,
			      &dummy, &ids[i]),
		    0);
	for (; idtable_next(&table, ID_MAP, id, &id, &object); id++)
		ASSERT_EQ(id, ids[2 * n++ + 1]);
	ASSERT_EQ(n, 50);
	idtable_fini(&table);
}

/* ---- ticker.c ---------------------------------------------------- */

static void
count_up(void *arg)
{
	++*(int *)arg;
}

TEST(ticker__ticks_once_each_time_it_is_set_and_not_when_it_is_not)
{
	struct event_base *base = event_base_new();
	struct ticker ticker = {0};
	int n = 0;

	ASSERT_NOT_NULL(base);
	ticker_fini(&ticker); /* as if it never was */
	ASSERT_EQ(ticker_init(&ticker, base, count_up, &n), 0);
	ticker_arm(&ticker, 1);
	ticker_arm(&ticker, 1000000); /* it is set already */
	while (n == 0)
		ASSERT_EQ(event_base_loop(base, EVLOOP_ONCE), 0);
	ASSERT_EQ(n, 1);
	ticker_arm(&ticker, 0);
	(void)usleep(20000);
	ticker_disarm(&ticker); /* though its time has come */
	ASSERT_EQ(event_base_loop(base, EVLOOP_NONBLOCK), 0);
	ASSERT_EQ(n, 1);
	ticker_arm(&ticker, 1);
	while (n == 1)
		ASSERT_EQ(event_base_loop(base, EVLOOP_ONCE), 0);
	ASSERT_EQ(n, 2);
	ticker_fini(&ticker);
	event_base_free(base);
}

/* ---- worker.c ---------------------------------------------------- */

struct counted {
	struct job job;
	pthread_barrier_t *barrier;
	int ran, done;
};

static void
counted_run(struct job *job)
{
	struct counted *c = (struct counted *)job;

	if (c->barrier != NULL)
		(void)pthread_barrier_wait(c->barrier);
	c->ran++;
}

static void
counted_done(struct job *job)
{
	((struct counted *)job)->done++;
}

static struct counted
counted_job(bool small, pthread_barrier_t *barrier)
{
	return (struct counted){
	    .job = {.run = counted_run, .done = counted_done, .small = small},
	    .barrier = barrier,
	};
}

TEST(workers__small_jobs_pass_a_large_one)
{
	struct event_base *base = event_base_new();
	struct counted large, next, small;
	struct workers *workers;
	pthread_barrier_t barrier;

	ASSERT_EQ(pthread_barrier_init(&barrier, NULL, 2), 0);
	large = counted_job(false, &barrier);
	next = counted_job(false, NULL);
	small = counted_job(true, NULL);
	ASSERT_EQ(workers_new(&workers, base, 2), 0);
	workers_submit(workers, &large.job);
	workers_submit(workers, &next.job);
	workers_submit(workers, &small.job);
	while (small.done == 0)
		(void)event_base_loop(base, EVLOOP_ONCE);
	ASSERT_EQ(large.done, 0);
	ASSERT_EQ(next.done, 0);
	/* Waits behind the large one, and so can still be taken back. */
	ASSERT_TRUE(workers_cancel(workers, &next.job));
	ASSERT_FALSE(workers_cancel(workers, &next.job));
	(void)pthread_barrier_wait(&barrier);
	while (workers_pending(workers) > 0)
		(void)event_base_loop(base, EVLOOP_ONCE);
	ASSERT_EQ(large.done, 1);
	ASSERT_EQ(next.ran, 0);
	ASSERT_FALSE(workers_cancel(workers, &large.job));
	workers_free(workers);
	(void)pthread_barrier_destroy(&barrier);
	event_base_free(base);
}

TEST(workers__freed_with_work_queued_they_join)
{
	struct event_base *base = event_base_new();
	struct counted jobs[50];
	struct workers *workers;

	ASSERT_EQ(workers_new(&workers, base, 1), 0);
	for (size_t i = 0; i < nitems(jobs); i++) {
		jobs[i] = counted_job(i % 2 == 0, NULL);
		workers_submit(workers, &jobs[i].job);
	}
	workers_free(workers);
	for (size_t i = 0; i < nitems(jobs); i++)
		ASSERT_TRUE(jobs[i].ran <= 1 && jobs[i].done == 0);
	event_base_free(base);
}

/* Threads that may still be started; negative: any number. */
static int threads_left = -1;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*start)(void *), void *arg);

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*start)(void *), void *arg)
{
	if (threads_left == 0)
		return EAGAIN;
	threads_left -= threads_left > 0;
	return __real_pthread_create(thread, attr, start, arg);
}

TEST(workers__where_no_thread_can_be_had_the_loop_does_the_jobs)
{
	for (int threads = 0; threads <= 2; threads++) {
		struct event_base *base = event_base_new();
		struct counted jobs[6];
		struct workers *workers;

		ASSERT_EQ(workers_new(&workers, base, 2), 0);
		threads_left = threads;
		for (size_t i = 0; i < nitems(jobs); i++) {
			jobs[i] = counted_job(i % 2 == 0, NULL);
			workers_submit(workers, &jobs[i].job);
			if (threads == 0)
				ASSERT_EQ(jobs[i].ran, 1);
		}
		while (workers_pending(workers) > 0)
			(void)event_base_loop(base, EVLOOP_ONCE);
		for (size_t i = 0; i < nitems(jobs); i++) {
			ASSERT_EQ(jobs[i].ran, 1);
			ASSERT_EQ(jobs[i].done, 1);
		}
		threads_left = -1;
		workers_free(workers);
		event_base_free(base);
	}
}

/* ---- config.c ---------------------------------------------------- */

TEST(config__sizes_have_suffixes_and_bounds)
{
	uint64_t size;

	ASSERT_EQ(config_parse_size("4096", &size), 0);
	ASSERT_EQ(size, 4096u);
	ASSERT_EQ(config_parse_size("0x10", &size), 0);
	ASSERT_EQ(size, 16u);
	ASSERT_EQ(config_parse_size("256M", &size), 0);
	ASSERT_EQ(size, UINT64_C(256) << 20);
	ASSERT_EQ(config_parse_size("1g", &size), 0);
	ASSERT_EQ(size, UINT64_C(1) << 30);
	ASSERT_EQ(config_parse_size("", &size), -EINVAL);
	ASSERT_EQ(config_parse_size("-1", &size), -EINVAL);
	ASSERT_EQ(config_parse_size("1X", &size), -EINVAL);
	ASSERT_EQ(config_parse_size("1MM", &size), -EINVAL);
	ASSERT_EQ(config_parse_size("99999999T", &size), -ERANGE);
	ASSERT_EQ(config_parse_size("18446744073709551616", &size), -ERANGE);
}

TEST(config__options_are_checked_one_by_one)
{
	struct config config;

	config_default(&config);
	ASSERT_EQ(config_set(&config, "allow-addresses", "0,1000"), 0);
	ASSERT_EQ(config.server.addresses.nuids, 2u);
	ASSERT_EQ(config.server.addresses.uids[1], 1000u);
	ASSERT_EQ(config_set(&config, "allow-addresses", "all"), 0);
	ASSERT_TRUE(config.server.addresses.all);
	ASSERT_EQ(config_set(&config, "allow-addresses", "root"), -EINVAL);
	ASSERT_EQ(config_set(&config, "allow-addresses", "1,,2"), -EINVAL);
	ASSERT_EQ(config_set(&config, "socket-mode", "600"), 0);
	ASSERT_EQ(config.socket_mode, 0600u);
	ASSERT_EQ(config_set(&config, "socket-mode", "888"), -EINVAL);
	ASSERT_EQ(config_set(&config, "frame-size", "3M"), -EINVAL);
	ASSERT_EQ(config_set(&config, "backend", "vax"), -EINVAL);
	ASSERT_EQ(config_set(&config, "quota-fds", "none"), 0);
	ASSERT_EQ(config.server.limits.limit[QUOTA_FDS], QUOTA_UNLIMITED);
	ASSERT_EQ(config_set(&config, "workers", "0"), -EINVAL);
	ASSERT_EQ(config_set(&config, "pool", NULL), -EINVAL);
	ASSERT_EQ(config_set(&config, "no-such", "1"), -EINVAL);
	config_fini(&config);
}

TEST(config__a_file_has_a_name_and_a_value_a_line)
{
	char path[] = "/tmp/holdfast-config-XXXXXX";
	struct config config;
	int fd = mkstemp(path);

	ASSERT_TRUE(fd >= 0);
	ASSERT_TRUE(dprintf(fd, "# a comment\n\n pool = 64M # more\n"
				"set-nr-hugepages\nworkers=3\n") > 0);
	config_default(&config);
	ASSERT_EQ(config_read(&config, path), 0);
	ASSERT_EQ(config.pool, UINT64_C(64) << 20);
	ASSERT_TRUE(config.set_nr_hugepages);
	ASSERT_EQ(config.server.nworkers, 3u);
	ASSERT_TRUE(dprintf(fd, "config = %s\n", path) > 0);
	ASSERT_EQ(config_read(&config, path), -EINVAL);
	ASSERT_EQ(config_read(&config, "/nonexistent"), -ENOENT);
	config_fini(&config);
	(void)close(fd);
	(void)unlink(path);
}

/* ---- status.c ---------------------------------------------------- */

TEST(status__codes_translate_and_sentences_name_the_limit)
{
	struct quota_limits limits;
	struct answer answer;
	struct quota quota;

	ASSERT_EQ(status_from_code(KERN_SUCCESS), 1);
	ASSERT_EQ(status_from_code(KERN_NO_SPACE), 4);
	ASSERT_EQ(status_from_code(REFUSED_QUOTA), 68);
	ASSERT_EQ(strcmp(status_name(KERN_NO_SPACE), "KERN_NO_SPACE"), 0);
	ASSERT_EQ(strcmp(status_name(REFUSED_SHUTTING_DOWN), "SHUTTING_DOWN"),
	    0);
	ASSERT_EQ(strcmp(status_name(50), "UNKNOWN"), 0);
	quota_limits_default(&limits);
	limits.limit[QUOTA_MAPS] = 3;
	quota_init(&quota, &limits);
	answer_init(&answer);
	ASSERT_EQ(answer_refuse_quota(&answer, &quota, QUOTA_MAPS, 1),
	    REFUSED_QUOTA);
	ASSERT_NOT_NULL(strstr(answer.text, "maps"));
	ASSERT_NOT_NULL(strstr(answer.text, "limit is 3"));
}
