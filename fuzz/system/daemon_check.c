/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the daemon target holds replies against: what was asked, what others
 * have, and who may know what.
 */

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/vm_map.h"
#include "fuzz/system/daemon.h"
#include "server/session.h"

#define OK         HOLDFAST__V1__STATUS__STATUS_SUCCESS
#define UNKNOWN_ID HOLDFAST__V1__STATUS__STATUS_UNKNOWN_ID
#define OP(name)   HOLDFAST__V1__REQUEST__OP_##name
#define TAG(t)     (UINT64_C(0x7365637200000001) + (t))

static bool
may_know(const struct daemon *d, const struct daemon_client *c)
{
	const struct server_options *options = &d->server->options;

	for (size_t i = 0; i < options->addresses.nuids; i++)
		if (options->addresses.uids[i] == SYS_UID + c->tenant)
			return true;
	return options->addresses.all;
}

/* ---- Buffers --------------------------------------------------------------
 */

/* A file that one tenant was shown is nobody else's. */
static void
check_inode(struct daemon *d, const struct daemon_client *c, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	for (unsigned i = 0; i < d->ninodes; i++)
		if (d->inodes[i].inode == (uint64_t)st.st_ino) {
			if (d->inodes[i].tenant != c->tenant)
				(void)fuzz_found(d->rep, "isolation", "fd",
				    "a file of tenant %u reached tenant %u",
				    d->inodes[i].tenant, c->tenant);
			return;
		}
	if (d->ninodes < DAEMON_INODES) {
		d->inodes[d->ninodes].inode = (uint64_t)st.st_ino;
		d->inodes[d->ninodes++].tenant = c->tenant;
	}
}

/* Nothing in there but zeroes and the tenant's own; only zeroes if asked. */
static void
check_content(struct daemon *d, const struct daemon_client *c,
    const struct buffer_seen *b, bool zero)
{
	for (uint64_t at = 0; at < b->size && at < 4 * SYS_PAGE;
	     at += SYS_PAGE) {
		uint64_t word = 0;

		if (pread(b->fd, &word, sizeof(word),
			(off_t)(b->offset + at)) != sizeof(word) ||
		    word == 0)
			continue;
		if (zero || word != TAG(c->tenant))
			(void)fuzz_found(d->rep, "content", "contig",
			    "%s: %#llx at %#llx of a buffer of tenant %u",
			    zero ? "not zeroed" : "somebody else's",
			    (unsigned long long)word, (unsigned long long)at,
			    c->tenant);
	}
}

static void
write_tags(const struct daemon_client *c, const struct buffer_seen *b)
{
	uint64_t tag = TAG(c->tenant);

	for (uint64_t at = 0; at < b->size && at < 4 * SYS_PAGE; at += SYS_PAGE)
		(void)pwrite(b->fd, &tag, sizeof(tag),
		    (off_t)(b->offset + at)); /* revoked: nothing to write */
}

static void
check_constraints(struct daemon *d, const Holdfast__V1__ContigAlloc *ask,
    const Holdfast__V1__ContigAllocResult *got)
{
	uint64_t pa = got->pa, last = pa + got->size - 1;

	if (got->size < ask->size || got->size - ask->size >= SYS_PAGE ||
	    got->size % SYS_PAGE != 0)
		(void)fuzz_found(d->rep, "constraint", "size",
		    "%#llx bytes for %#llx", (unsigned long long)got->size,
		    (unsigned long long)ask->size);
	if (pa < ask->low || (ask->high != 0 && last >= ask->high) ||
	    (ask->alignment != 0 && (pa & (ask->alignment - 1)) != 0) ||
	    (ask->boundary != 0 && ((pa ^ last) & -ask->boundary) != 0))
		(void)fuzz_found(d->rep, "constraint", "contig",
		    "%#llx..%#llx breaks what was asked",
		    (unsigned long long)pa, (unsigned long long)last);
}

/* A node that was asked for, whatever order they were tried in. */
static void
check_domain(struct daemon *d, const Holdfast__V1__ContigAlloc *ask,
    const Holdfast__V1__ContigAllocResult *got)
{
	bool set = ask->policy != 0 || ask->domains != 0;

	if ((!set && ask->domain != 0 && got->domain != ask->domain - 1) ||
	    (ask->domains != 0 && !(ask->domains >> (got->domain & 31) & 1)))
		(void)fuzz_found(d->rep, "constraint", "domain",
		    "node %d is none of %#x, policy %d, node + 1 %d",
		    got->domain, ask->domains, (int)ask->policy, ask->domain);
}

static void
check_place(struct daemon *d, const Holdfast__V1__ContigAllocResult *got)
{
	if (got->pa - got->span_pa != got->offset ||
	    got->offset > got->span_size ||
	    got->size > got->span_size - got->offset)
		(void)fuzz_found(d->rep, "place", "contig",
		    "pa %#llx is not at %#llx of its span",
		    (unsigned long long)got->pa,
		    (unsigned long long)got->offset);
}

static void
take_buffer(struct daemon *d, struct daemon_client *c, const struct pending *p,
    const Holdfast__V1__ContigAllocResult *got, const int *fds, size_t nfds)
{
	const Holdfast__V1__ContigAlloc *ask =
	    p == NULL || c->wild || p->op != OP(CONTIG_ALLOC)
		? NULL
		: (const void *)&p->body;
	struct buffer_seen *b;

	if (may_know(d, c)) {
		check_place(d, got);
		if (ask != NULL)
			check_constraints(d, ask, got);
	}
	if (ask != NULL)
		check_domain(d, ask, got);
	if (c->nbuffers == DAEMON_BUFFERS) {
		c->wild = true; /* more than it can remember */
		return;
	}
	b = &c->buffers[c->nbuffers++];
	*b = (struct buffer_seen){got->buffer, got->pa, got->size, -1,
	    got->offset};
	if (nfds != 1 || !d->memfd)
		return;
	b->fd = dup(fds[0]);
	check_inode(d, c, b->fd);
	check_content(d, c, b, ask != NULL && (ask->flags & M_ZERO) != 0);
	write_tags(c, b);
}

static bool
overlap(const struct buffer_seen *a, const struct buffer_seen *b)
{
	return a->pa != 0 && b->pa != 0 && a->pa < b->pa + b->size &&
	       b->pa < a->pa + a->size;
}

void
daemon_check_buffers(struct daemon *d)
{
	const struct buffer_seen *all[DAEMON_CLIENTS * DAEMON_BUFFERS];
	unsigned n = 0;

	if (d->spoiled)
		return; /* frames were moved under buffers, on purpose */
	for (unsigned i = 0; i < DAEMON_CLIENTS; i++) {
		const struct daemon_client *c = &d->clients[i];

		if (c->fd >= 0 && !c->wild && !c->paused)
			for (unsigned k = 0; k < c->nbuffers; k++)
				all[n++] = &c->buffers[k];
	}
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < i; k++)
			if (overlap(all[i], all[k]))
				(void)fuzz_found(d->rep, "overlap", "contig",
				    "%#llx is in two buffers",
				    (unsigned long long)all[i]->pa);
}

/* Nobody holds more than he may. */
void
daemon_check_quotas(struct daemon *d)
{
	const struct tenant *tenant;

	TAILQ_FOREACH (tenant, &d->server->tenants, entry)
		for (unsigned i = 0; i < QUOTA_NRESOURCES; i++)
			if (tenant->quota.used[i] > tenant->quota.limit[i])
				(void)fuzz_found(d->rep, "limit", "quota",
				    "%s has %llu %s of %llu", tenant->name,
				    (unsigned long long)tenant->quota.used[i],
				    quota_resource_name((enum quota_resource)i),
				    (unsigned long long)tenant->quota.limit[i]);
}

void
daemon_touch(struct daemon *d, struct daemon_client *c, unsigned n)
{
	const struct buffer_seen *b;

	if (c->nbuffers == 0)
		return;
	b = &c->buffers[n % c->nbuffers];
	if (b->fd < 0)
		return;
	check_content(d, c, b, false);
	write_tags(c, b);
}

/* ---- Maps -----------------------------------------------------------------
 */

static bool
is_plain(const Holdfast__V1__Entry *e)
{
	return (e->eflags & MAP_ENTRY_GUARD) == 0;
}

static void
check_entries(struct daemon *d, const Holdfast__V1__MapEntriesResult *got)
{
	uint64_t end = 0;

	for (size_t i = 0; i < got->n_entries; i++) {
		const Holdfast__V1__Entry *e = got->entries[i];

		if (e->start < end || e->start >= e->end)
			(void)fuzz_found(d->rep, "order", "map_entries",
			    "entry %#llx..%#llx behind %#llx",
			    (unsigned long long)e->start,
			    (unsigned long long)e->end,
			    (unsigned long long)end);
		end = e->end;
	}
}

static bool
agrees(const struct readback *r, const Holdfast__V1__Entry *e)
{
	if (r->op == OP(MAP_DELETE))
		return false; /* there is one */
	if (!is_plain(e))
		return true;
	if (r->check_prot && e->prot != r->prot)
		return false;
	if (r->check_max && e->max_prot != r->max_prot)
		return false;
	if (r->op == OP(MAP_INHERIT) && e->inheritance != r->inheritance)
		return false;
	return !r->check_offset || e->start < r->start ||
	       e->offset - r->offset == e->start - r->start;
}

static void
check_readback(struct daemon *d, const Holdfast__V1__MapEntriesResult *got)
{
	const struct readback *r = &d->readback;
	uint64_t covered = 0;

	for (size_t i = 0; i < got->n_entries; i++) {
		const Holdfast__V1__Entry *e = got->entries[i];

		if (e->end <= r->start || e->start >= r->end)
			continue;
		covered += (e->end < r->end ? e->end : r->end) -
			   (e->start > r->start ? e->start : r->start);
		if (!agrees(r, e))
			(void)fuzz_found(d->rep, "effect", "map",
			    "operation %u: entry %#llx..%#llx prot %u/%u "
			    "inherit %u offset %#llx",
			    r->op, (unsigned long long)e->start,
			    (unsigned long long)e->end, e->prot, e->max_prot,
			    e->inheritance, (unsigned long long)e->offset);
	}
	if (got->next == 0 &&
	    (r->op == OP(MAP_INSERT) || r->op == OP(MAP_FIND)) &&
	    covered != r->end - r->start)
		(void)fuzz_found(d->rep, "effect", "map",
		    "%#llx bytes of %#llx are there",
		    (unsigned long long)covered,
		    (unsigned long long)(r->end - r->start));
}

/* What to look at after a change that succeeded. */
static void
plan_readback(struct daemon *d, const struct pending *p,
    const Holdfast__V1__Reply *reply)
{
	const Holdfast__V1__MapProtect *protect = (const void *)&p->body;
	const Holdfast__V1__MapInherit *inherit = (const void *)&p->body;
	const Holdfast__V1__MapInsert *insert = (const void *)&p->body;
	const Holdfast__V1__MapDelete *delete = (const void *)&p->body;
	const Holdfast__V1__MapFind *find = (const void *)&p->body;
	struct readback r = {.wanted = true, .op = p->op};

	switch (p->op) {
	case OP(MAP_INSERT):
		r.map = insert->map;
		r.start = insert->start;
		r.end = insert->end;
		r.prot = insert->prot;
		r.max_prot = insert->max_prot;
		r.offset = insert->offset;
		r.wanted = insert->cow == 0;
		r.check_prot = r.check_max = true;
		r.check_offset = insert->object != 0;
		break;
	case OP(MAP_FIND):
		r.map = find->map;
		r.start = reply->map_find->addr;
		r.end = r.start + ((find->length + SYS_PAGE - 1) & -SYS_PAGE);
		r.prot = find->prot;
		r.max_prot = find->max_prot;
		r.offset = find->offset;
		r.wanted = find->cow == 0;
		r.check_prot = r.check_max = true;
		r.check_offset = find->object != 0;
		break;
	case OP(MAP_PROTECT):
		r.map = protect->map;
		r.start = protect->start;
		r.end = protect->end;
		r.prot = protect->prot;
		r.max_prot = protect->max_prot;
		r.check_prot = (protect->flags & 1) != 0;
		r.check_max = (protect->flags & 2) != 0;
		break;
	case OP(MAP_INHERIT):
		r.map = inherit->map;
		r.start = inherit->start;
		r.end = inherit->end;
		r.inheritance = inherit->inheritance;
		break;
	case OP(MAP_DELETE):
		r.map = delete->map;
		r.start = delete->start;
		r.end = delete->end;
		break;
	default:
		r.wanted = false;
		break;
	}
	r.wanted &= r.start < r.end && (r.start | r.end) % SYS_PAGE == 0;
	d->readback = r;
}

/* ---- Replies --------------------------------------------------------------
 */

/* No number is given out twice. */
static void
check_fresh(struct daemon *d, const struct daemon_client *c, uint64_t id)
{
	for (unsigned i = 0; i < DAEMON_DEAD && id != 0; i++)
		if (c->dead[i] == id && !c->wild)
			(void)fuzz_found(d->rep, "stale", "number",
			    "%#llx was given back, and is given out again",
			    (unsigned long long)id);
}

static void
learn(struct daemon_client *c, enum sys_id kind, uint64_t id)
{
	if (c->nids[kind] == DAEMON_IDS)
		c->ids[kind][--c->nids[kind]] = 0;
	c->ids[kind][c->nids[kind]++] = id;
}

/* Tenants that are told no addresses find none in any result. */
static void
check_secrets(struct daemon *d, const struct daemon_client *c,
    const Holdfast__V1__Reply *reply)
{
	const ProtobufCMessageDescriptor *rd = &holdfast__v1__reply__descriptor;
	const ProtobufCMessage *m = (const void *)reply->hello;
	const ProtobufCMessageDescriptor *md;
	const ProtobufCFieldDescriptor *f;
	uint64_t v;

	if (may_know(d, c) || reply->result_case == 0)
		return;
	f = protobuf_c_message_descriptor_get_field(rd,
	    (unsigned)reply->result_case);
	if (f == NULL || m == NULL)
		return;
	md = f->descriptor;
	for (unsigned i = 0; i < md->n_fields; i++) {
		const ProtobufCFieldDescriptor *sub = &md->fields[i];

		if (strcmp(sub->name, "pa") != 0 &&
		    strcmp(sub->name, "span_pa") != 0)
			continue;
		memcpy(&v, (const char *)m + sub->offset, sizeof(v));
		if (v != 0)
			(void)fuzz_found(d->rep, "address", sub->name,
			    "tenant %u was told %#llx", c->tenant,
			    (unsigned long long)v);
	}
	if (reply->result_case == HOLDFAST__V1__REPLY__RESULT_POOL_RUNS &&
	    (reply->pool_runs->n_free > 0 || reply->pool_runs->n_segments > 0))
		(void)fuzz_found(d->rep, "address", "pool_runs",
		    "tenant %u was told where the pool lies", c->tenant);
}

static void
check_status(struct daemon *d, struct daemon_client *c, const struct pending *p,
    const Holdfast__V1__Reply *reply)
{
	bool ok = reply->status == OK;

	if (ok != (reply->message[0] == '\0'))
		(void)fuzz_found(d->rep, "sentence", "reply",
		    "status %d with \"%s\"", (int)reply->status,
		    reply->message);
	if (p == NULL || c->wild)
		return;
	/* MapAttach takes the number that another session has. */
	if (ok && !p->known && !c->wild && p->op != OP(MAP_ATTACH))
		(void)fuzz_found(d->rep, "stale", "id",
		    "operation %u took a number that is not this session's",
		    p->op);
	if (ok && p->op == OP(HELLO))
		c->greeted = true;
	if (ok && !c->greeted)
		(void)fuzz_found(d->rep, "code", "hello",
		    "operation %u before Hello", p->op);
	if (!ok && p->op == OP(MAP_CHECK) && p->known && c->greeted &&
	    reply->status != UNKNOWN_ID)
		(void)fuzz_found(d->rep, "check", "map", "%s", reply->message);
}

/* How much the tenant's account says it has, when nothing is under way. */
static void
check_account(struct daemon *d, const struct daemon_client *c,
    const struct pending *p, const Holdfast__V1__TenantStatusResult *got)
{
	uint64_t nsessions = 0, nbuffers = 0;

	if (p == NULL || p->step != d->step)
		return; /* it may tell of an earlier time */

	for (unsigned i = 0; i < DAEMON_CLIENTS; i++) {
		const struct daemon_client *other = &d->clients[i];

		if (other->fd < 0 || other->tenant != c->tenant)
			continue;
		if (other->wild || other->paused)
			return;
		for (unsigned k = 0; k < DAEMON_PENDING; k++)
			if (other->pending[k].id != 0 &&
			    other->pending[k].op != OP(TENANT_STATUS))
				return;
		nsessions++;
		nbuffers += other->nbuffers;
	}
	/* Those that a device may still write to are nobody's, and charged. */
	if (got->sessions->used != nsessions || got->buffers < nbuffers ||
	    got->buffers - nbuffers > d->server->quarantine.n)
		(void)fuzz_found(d->rep, "account", "tenant_status",
		    "%llu sessions of %llu, %llu buffers of %llu",
		    (unsigned long long)got->sessions->used,
		    (unsigned long long)nsessions,
		    (unsigned long long)got->buffers,
		    (unsigned long long)nbuffers);
}

static void
take_result(struct daemon *d, struct daemon_client *c, const struct pending *p,
    const Holdfast__V1__Reply *reply, const int *fds, size_t nfds)
{
	switch (reply->result_case) {
	case HOLDFAST__V1__REPLY__RESULT_CONTIG_ALLOC:
		check_fresh(d, c, reply->contig_alloc->buffer);
		take_buffer(d, c, p, reply->contig_alloc, fds, nfds);
		break;
	case HOLDFAST__V1__REPLY__RESULT_OBJECT_CREATE:
		check_fresh(d, c, reply->object_create->object);
		learn(c, SYS_ID_OBJECT, reply->object_create->object);
		break;
	case HOLDFAST__V1__REPLY__RESULT_MAP:
		check_fresh(d, c, reply->map->map);
		learn(c, SYS_ID_MAP, reply->map->map);
		break;
	case HOLDFAST__V1__REPLY__RESULT_TENANT_STATUS:
		check_account(d, c, p, reply->tenant_status);
		break;
	case HOLDFAST__V1__REPLY__RESULT_MAP_ENTRIES:
		check_entries(d, reply->map_entries);
		if (d->readback.by == c && d->readback.id == reply->id)
			check_readback(d, reply->map_entries);
		for (size_t i = 0; i < nfds; i++)
			check_inode(d, c, fds[i]);
		break;
	default:
		break;
	}
}

void
daemon_check_reply(struct daemon *d, struct daemon_client *c,
    const struct pending *p, const Holdfast__V1__Reply *reply, const int *fds,
    size_t nfds)
{
	fuzz_hash(d->rep, (uint64_t)reply->status << 32 | reply->result_case);
	if (sys_is_traced()) {
		fprintf(stderr, "  #%llu status %d \"%s\" ",
		    (unsigned long long)reply->id, (int)reply->status,
		    reply->message);
		if (reply->result_case != 0)
			sys_print((const void *)reply->hello);
		fprintf(stderr, "\n");
	}
	check_status(d, c, p, reply);
	if (reply->status != OK) {
		if (nfds > 0 || reply->result_case != 0)
			(void)fuzz_found(d->rep, "wire", "refusal",
			    "a refusal brings something");
		return;
	}
	check_secrets(d, c, reply);
	take_result(d, c, p, reply, fds, nfds);
	if (p != NULL && !c->wild && !d->readback.asked)
		plan_readback(d, p, reply);
}

/* ---- The end --------------------------------------------------------------
 */

void
daemon_check_end(struct daemon *d)
{
	struct server *server = d->server;
	struct vm_phys_stats stats = {0};
	const struct tenant *tenant;
	const char *broken = NULL;

	if (server->nsessions != 0)
		(void)fuzz_found(d->rep, "leak", "session", "%zu sessions left",
		    server->nsessions);
	TAILQ_FOREACH (tenant, &server->tenants, entry)
		for (unsigned i = 0; i < QUOTA_NRESOURCES; i++)
			if (tenant->quota.used[i] != 0)
				(void)fuzz_found(d->rep, "quota", "end",
				    "%llu %s of %s are still charged",
				    (unsigned long long)tenant->quota.used[i],
				    quota_resource_name((enum quota_resource)i),
				    tenant->name);
	if (server->pool.phys == NULL)
		return;
	vm_phys_stats(server->pool.phys, &stats);
	broken = vm_phys_check(server->pool.phys);
	if (broken != NULL)
		(void)fuzz_found(d->rep, "check", "pool", "%s", broken);
	if (stats.free != stats.total || server->pool.nspans != 0)
		(void)fuzz_found(d->rep, "leak", "pool",
		    "%llu of %llu bytes are free, %zu spans left",
		    (unsigned long long)stats.free,
		    (unsigned long long)stats.total, server->pool.nspans);
}
