/* SPDX-License-Identifier: BSD-2-Clause */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clients/libholdfast/holdfast_int.h"

#define DEFAULT_TIMEOUT_MS 30000

static const struct {
	int status;
	const char *name;
} names[] = {
    {HF_OK, "KERN_SUCCESS"},
    {HF_INVALID_ADDRESS, "KERN_INVALID_ADDRESS"},
    {HF_PROTECTION_FAILURE, "KERN_PROTECTION_FAILURE"},
    {HF_NO_SPACE, "KERN_NO_SPACE"},
    {HF_INVALID_ARGUMENT, "KERN_INVALID_ARGUMENT"},
    {HF_FAILURE, "KERN_FAILURE"},
    {HF_RESOURCE_SHORTAGE, "KERN_RESOURCE_SHORTAGE"},
    {HF_NOT_RECEIVER, "KERN_NOT_RECEIVER"},
    {HF_NO_ACCESS, "KERN_NO_ACCESS"},
    {HF_OUT_OF_BOUNDS, "KERN_OUT_OF_BOUNDS"},
    {HF_RESTART, "KERN_RESTART"},
    {HF_WOULD_BLOCK, "KERN_WOULD_BLOCK"},
    {HF_VERSION, "HF_VERSION"},
    {HF_NOT_NEGOTIATED, "HF_NOT_NEGOTIATED"},
    {HF_UNKNOWN_REQUEST, "HF_UNKNOWN_REQUEST"},
    {HF_UNKNOWN_ID, "HF_UNKNOWN_ID"},
    {HF_QUOTA, "HF_QUOTA"},
    {HF_DENIED, "HF_DENIED"},
    {HF_EXISTS, "HF_EXISTS"},
    {HF_NO_POOL, "HF_NO_POOL"},
    {HF_SHUTTING_DOWN, "HF_SHUTTING_DOWN"},
    {HF_TIMED_OUT, "HF_TIMED_OUT"},
    {HF_CANCELLED, "HF_CANCELLED"},
};

const char *
holdfast_status_name(int rv)
{
	const char *name;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].status == rv)
			return names[i].name;
	name = rv < 0 ? strerrorname_np(-rv) : NULL;
	return name != NULL ? name : "unknown";
}

const char *
holdfast_error(const struct holdfast *h)
{
	return h != NULL ? h->error : "";
}

int
holdfast_fd(const struct holdfast *h)
{
	return h != NULL ? h->conn.fd : -1;
}

void
holdfast_info(const struct holdfast *h, struct holdfast_info *infop)
{
	*infop = h->info;
}

/*
 * A byte that the kernel clears in forked children: asking who we are costs no
 * system call.
 */
static int
mark_mine(struct holdfast *h)
{
	size_t size = (size_t)getpagesize();
	uint8_t *page = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -errno;
	if (madvise(page, size, MADV_WIPEONFORK) < 0) {
		int r = -errno;

		(void)munmap(page, size);
		return r;
	}
	*page = 1;
	h->mine = page;
	return 0;
}

static int
handle_new(struct holdfast **hp)
{
	struct holdfast *h = calloc(1, sizeof(*h));
	int r;

	if (h == NULL)
		return -ENOMEM;
	h->conn.fd = -1;
	h->packet_max = HOLDFAST_PACKET_MAX;
	h->batch_max = 1;
	h->next_id = 1;
	h->packet = malloc(HOLDFAST_PACKET_MAX);
	r = h->packet != NULL ? wire_arena_init(&h->arena, HOLDFAST_UNPACK_MAX)
			      : -ENOMEM;
	if (r == 0)
		r = mark_mine(h);
	if (r < 0) {
		holdfast_close(h);
		return r;
	}
	*hp = h;
	return 0;
}

void
holdfast_close(struct holdfast *h)
{
	if (h == NULL)
		return;
	hf_maps_free_all(h);
	hf_bufs_free_all(h);
	if (h->mine != NULL) {
		if (h->conn.fd >= 0 && *h->mine != 0)
			hf_conn_end(&h->conn);
		(void)munmap((void *)(uintptr_t)h->mine, (size_t)getpagesize());
	}
	hf_conn_close(&h->conn);
	hf_index_fini(&h->spans);
	hf_index_fini(&h->views);
	free(h->packet);
	free(h->path);
	wire_arena_fini(&h->arena);
	free(h);
}

static int
take_hello(struct holdfast *h, const Holdfast__V1__HelloResult *hello)
{
	struct holdfast_info *info = &h->info;

	if (hello->version < HOLDFAST_VERSION_MIN ||
	    hello->version > HOLDFAST_VERSION_MAX)
		return hf_mistrust(h,
		    "the daemon chose version %u of the "
		    "protocol, which was not offered",
		    hello->version);
	if (!hf_is_power_of_two(hello->page_size) ||
	    hello->page_size % (uint64_t)getpagesize() != 0)
		return hf_mistrust(h,
		    "the daemon's page size is %llu, which "
		    "this machine does not have",
		    (unsigned long long)hello->page_size);
	if (hello->frame_size != 0 && (!hf_is_power_of_two(hello->frame_size) ||
					  hello->frame_size < hello->page_size))
		return hf_mistrust(h, "the daemon's frame size is %llu",
		    (unsigned long long)hello->frame_size);
	h->conn.greeted = true;
	h->session = hello->session;
	info->version = hello->version;
	info->page_size = hello->page_size;
	info->frame_size = hello->frame_size;
	info->addresses_allowed = hello->addresses_allowed;
	(void)strncpy(info->machine, hello->machine, sizeof(info->machine) - 1);
	if (hello->packet_max != 0 && hello->packet_max < h->packet_max)
		h->packet_max = hello->packet_max;
	if (hello->batch_max > 1)
		h->batch_max = hello->batch_max < HOLDFAST_BATCH_MAX
				   ? hello->batch_max
				   : HOLDFAST_BATCH_MAX;
	return HF_OK;
}

static int
negotiate(struct holdfast *h, const char *name)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__Hello hello = HOLDFAST__V1__HELLO__INIT;
	const Holdfast__V1__Reply *reply;
	int r;

	hello.version_min = HOLDFAST_VERSION_MIN;
	hello.version_max = HOLDFAST_VERSION_MAX;
	hello.name = (char *)(uintptr_t)name; /* only read */
	hello.sequential = true;              /* call.c */
	request.op_case = HOLDFAST__V1__REQUEST__OP_HELLO;
	request.hello = &hello;
	r = hf_call(h, &request, HOLDFAST__V1__REPLY__RESULT_HELLO, 0, &reply,
	    NULL);
	return r == HF_OK ? take_hello(h, reply->hello) : r;
}

static int
open_and_negotiate(struct holdfast *h, const struct holdfast_options *options)
{
	const char *path = options->socket_path, *name = options->name;
	int timeout_ms = options->timeout_ms, r;

	if (path == NULL)
		path = getenv("HOLDFAST_SOCKET");
	if (path == NULL || *path == '\0')
		path = HOLDFAST_SOCKET_PATH;
	if (name == NULL)
		name = program_invocation_short_name;
	if (strlen(name) > HOLDFAST_NAME_MAX) {
		if (options->name != NULL)
			return -ENAMETOOLONG;
		name = "a program";
	}
	if (timeout_ms == 0)
		timeout_ms = DEFAULT_TIMEOUT_MS;
	h->path = strdup(path);
	if (h->path == NULL)
		return -ENOMEM;
	r = hf_conn_open(&h->conn, path, timeout_ms);
	if (r < 0) {
		hf_say(h, "%s: %s", path, strerror(-r));
		return r;
	}
	return negotiate(h, name);
}

int
holdfast_connect(const struct holdfast_options *options, struct holdfast **hp)
{
	static const struct holdfast_options none;
	struct holdfast *h;
	int r;

	r = handle_new(&h);
	if (r < 0)
		return r;
	if (options == NULL)
		options = &none;
	r = open_and_negotiate(h, options);
	if (options->error_size > 0)
		(void)snprintf(options->error, options->error_size, "%s",
		    h->error);
	if (r != HF_OK) {
		holdfast_close(h);
		return r;
	}
	*hp = h;
	return HF_OK;
}

int
holdfast_ping(struct holdfast *h)
{
	Holdfast__V1__Request request = HOLDFAST__V1__REQUEST__INIT;
	Holdfast__V1__Ping ping = HOLDFAST__V1__PING__INIT;

	request.op_case = HOLDFAST__V1__REQUEST__OP_PING;
	request.ping = &ping;
	return hf_call_bare(h, &request);
}
