/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/kassert.h"
#include "core/vm_object.h"
#include "server/cleanup.h"
#include "server/extent.h"
#include "server/log.h"
#include "server/map.h"
#include "server/memory.h"
#include "server/tenant.h"
#include "server/worker.h"

/* ---- Punching ---------------------------------------------------- */

/* What is given back on a worker, and what pays for it until then. */
struct punch {
	struct job job;
	struct map_file *file; /* one reference */
	struct quota_charge bytes;
	uint64_t size; /* of all runs */
	size_t n;
	struct file_run runs[];
};

static void
run_punch(const struct map_file *file, const struct file_run *run)
{
	if (fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)run->offset, (off_t)run->size) < 0)
		log_error("map_punch", "tenant=%s errno=%d", file->tenant->name,
		    errno);
}

static void
punch_run(struct job *job)
{
	struct punch *punch = (struct punch *)job;

	for (size_t i = 0; i < punch->n; i++)
		run_punch(punch->file, &punch->runs[i]);
}

static void file_unref(struct map_file *file);

static void
punch_done(struct job *job)
{
	struct punch *punch = (struct punch *)job;
	struct map_file *file = punch->file;
	struct file_waiter *waiter;

	quota_discharge(&punch->bytes);
	free(punch);
	file->npunching--;
	while (file->npunching == 0 &&
	       (waiter = TAILQ_FIRST(&file->waiters)) != NULL) {
		TAILQ_REMOVE(&file->waiters, waiter, entry);
		waiter->done(waiter);
	}
	file_unref(file);
}

/*
 * Punch out `n` runs; `bytes` pays for them until that is done, and is empty
 * on return.
 */
static void
file_punch(struct map_file *file, const struct file_run *runs, size_t n,
    struct quota_charge *bytes)
{
	struct punch *punch = NULL;
	uint64_t size = 0;

	for (size_t i = 0; i < n; i++)
		size += runs[i].size;
	if (size > MAP_PUNCH_INLINE)
		punch = memory_alloc(sizeof(*punch) + n * sizeof(*runs));
	if (punch == NULL) {
		for (size_t i = 0; i < n; i++)
			run_punch(file, &runs[i]);
		quota_discharge(bytes);
		return;
	}
	*punch = (struct punch){
	    .job = {.run = punch_run, .done = punch_done},
	    .file = file,
	    .bytes = *bytes,
	    .n = n,
	};
	*bytes = (struct quota_charge){0};
	memcpy(punch->runs, runs, n * sizeof(*runs));
	file->refs++;
	file->npunching++;
	workers_submit(file->workers, &punch->job);
}

/* Take `amount` of one charge into one of its own, which pays on. */
static struct quota_charge
charge_split(struct quota_charge *from, uint64_t amount)
{
	struct quota_charge part = *from;

	MPASS(amount <= from->amount);
	from->amount -= amount;
	part.amount = amount;
	return part;
}

void
map_file_flush(struct map_file *file)
{
	struct quota_charge bytes;
	uint64_t size = 0;

	if (file == NULL || file->nruns == 0)
		return;
	for (size_t i = 0; i < file->nruns; i++)
		size += file->runs[i].size;
	bytes = charge_split(&file->bytes, size);
	file_punch(file, file->runs, file->nruns, &bytes);
	file->nruns = 0;
}

bool
map_file_wait(struct map_file *file, struct file_waiter *waiter)
{
	if (file->npunching == 0)
		return false;
	TAILQ_INSERT_TAIL(&file->waiters, waiter, entry);
	return true;
}

void
map_file_unwait(struct map_file *file, struct file_waiter *waiter)
{
	TAILQ_REMOVE(&file->waiters, waiter, entry);
}

/* ---- Pages ------------------------------------------------------- */

/* The next `size` bytes.  -ENOSPC: the file has been used up. */
static int
file_place(struct map_file *file, uint64_t size, uint64_t *offsetp)
{
	if (size > MAP_FILE_SIZE - file->next)
		return -ENOSPC;
	*offsetp = file->next;
	file->next += size;
	return 0;
}

static int
page_alloc(void *arg, uint64_t *framep)
{
	struct map_file *file = arg;
	uint64_t offset;

	if (quota_recharge(&file->bytes, file->bytes.amount + file->pagesize) <
	    0)
		return KERN_RESOURCE_SHORTAGE;
	if (file_place(file, file->pagesize, &offset) < 0) {
		(void)quota_recharge(&file->bytes,
		    file->bytes.amount - file->pagesize);
		return KERN_RESOURCE_SHORTAGE;
	}
	*framep = offset / file->pagesize;
	return KERN_SUCCESS;
}

/* Called with the objects' lock held: what follows is system calls alone. */
static void
page_free(void *arg, uint64_t frame)
{
	struct map_file *file = arg;
	uint64_t offset = frame * file->pagesize;
	struct file_run *last;

	last = file->nruns > 0 ? &file->runs[file->nruns - 1] : NULL;
	if (last != NULL && last->offset + last->size == offset) {
		last->size += file->pagesize;
		return;
	}
	if (file->nruns == MAP_FILE_RUNS)
		map_file_flush(file);
	file->runs[file->nruns++] = (struct file_run){offset, file->pagesize};
}

int
map_file_copy(struct map_file *file, int source, uint64_t offset, uint64_t to)
{
	ssize_t n = pread(source, file->buffer, file->pagesize, (off_t)offset);

	if (n < 0)
		return -errno;
	if (n == 0)
		return 0; /* behind its end */
	/* A byte that equals the next, and so on, from a first that is 0. */
	if (file->buffer[0] == 0 &&
	    memcmp(file->buffer, file->buffer + 1, (size_t)n - 1) == 0)
		return 0;
	return pwrite(file->fd, file->buffer, (size_t)n, (off_t)to) == n
		   ? 0
		   : -ENOMEM;
}

static int
page_copy(void *arg, vm_object_t source, uint64_t frame, uint64_t *framep)
{
	struct map_file *file = arg;
	const struct object *object = object_of(source);
	uint64_t offset = frame * file->pagesize;
	int fd = file->fd;
	int rv;

	if (object != NULL)
		object_place(object, offset, &fd, &offset);
	rv = page_alloc(arg, framep);
	if (rv != KERN_SUCCESS)
		return rv;
	if (fd < 0) /* nobody has ever mapped it: zeroes */
		return rv;
	if (map_file_copy(file, fd, offset, *framep * file->pagesize) == 0)
		return rv;
	page_free(file, *framep);
	return KERN_RESOURCE_SHORTAGE;
}

static const struct vm_pager_ops pager_ops = {
    .alloc = page_alloc,
    .copy = page_copy,
    .free = page_free,
};

uint64_t
map_file_npages(const struct map_file *file)
{
	return vm_pager_npages(file->pager);
}

/* ---- Life -------------------------------------------------------- */

static void
file_free(struct map_file *file)
{
	MPASS(file->nruns == 0);
	vm_pager_destroy(file->pager);
	fd_closep(&file->fd);
	quota_discharge(&file->fds);
	quota_discharge(&file->bytes);
	free(file->buffer);
	free(file);
}

static void
file_unref(struct map_file *file)
{
	MPASS(file->refs > 0);
	if (--file->refs > 0)
		return;
	file->nruns = 0; /* it all goes with the file */
	file_free(file);
}

static int
file_init(struct map_file *file, const struct arch *arch)
{
	struct quota *quota = &file->tenant->quota;
	int r;

	file->buffer = memory_alloc(file->pagesize);
	file->pager = vm_pager_create(arch, &pager_ops, file);
	if (file->buffer == NULL || file->pager == NULL)
		return -ENOMEM;
	r = quota_charge(&file->bytes, quota, QUOTA_BASE_BYTES, 0);
	if (r == 0)
		r = quota_charge(&file->fds, quota, QUOTA_FDS, 1);
	if (r == 0)
		r = arch->ops->base_file(arch->ctx, MAP_FILE_SIZE, &file->fd);
	return r;
}

int
map_file_new(struct map_file **filep, const struct arch *arch,
    struct tenant *tenant, struct workers *workers)
{
	struct map_file *file = memory_calloc(1, sizeof(*file));
	int r;

	if (file == NULL)
		return error_origin(-ENOMEM);
	file->refs = 1;
	file->nmaps = 1;
	TAILQ_INIT(&file->waiters);
	file->fd = -1;
	file->tenant = tenant;
	file->workers = workers;
	file->pagesize = arch->machine->page_size;
	r = file_init(file, arch);
	if (r < 0) {
		file_free(file);
		return error_origin(r);
	}
	*filep = file;
	return 0;
}

void
map_file_join(struct map_file *file)
{
	MPASS(file->nmaps > 0);
	file->refs++;
	file->nmaps++;
}

void
map_file_leave_soon(struct map_file *file)
{
	MPASS(file->nmaps > 0);
	file->nmaps--;
}

void
map_file_leave(struct map_file *file)
{
	if (file == NULL)
		return;
	map_file_flush(file);
	file_unref(file);
}

/* ---- Extents ----------------------------------------------------- */

int
extent_new(struct extent *extent, struct map_file *file, uint64_t size)
{
	uint64_t offset;
	int r;

	MPASS(extent->file == NULL && size % file->pagesize == 0);
	r = quota_charge(&extent->bytes, &file->tenant->quota, QUOTA_BASE_BYTES,
	    size);
	if (r < 0)
		return r;
	r = file_place(file, size, &offset);
	if (r < 0) {
		quota_discharge(&extent->bytes);
		return r;
	}
	file->refs++;
	extent->file = file;
	extent->offset = offset;
	extent->size = size;
	return 0;
}

void
extent_free(struct extent *extent)
{
	struct map_file *file = extent->file;
	struct file_run run = {extent->offset, extent->size};

	if (file == NULL)
		return;
	/* After the last map it goes with the file. */
	if (file->nmaps > 0)
		file_punch(file, &run, 1, &extent->bytes);
	else
		quota_discharge(&extent->bytes);
	*extent = (struct extent){0};
	file_unref(file);
}

void
extent_trim(struct extent *extent, uint64_t offset, uint64_t size)
{
	struct file_run run = {extent->offset + offset, size};
	struct quota_charge bytes;

	MPASS(offset + size <= extent->size);
	if (size == 0 || extent->file == NULL)
		return;
	bytes = charge_split(&extent->bytes, MIN(size, extent->bytes.amount));
	file_punch(extent->file, &run, 1, &bytes);
}
