/* SPDX-License-Identifier: BSD-2-Clause */

#include "fuzz/system/liar.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define OP(name)     HOLDFAST__V1__REQUEST__OP_##name
#define RESULT(name) HOLDFAST__V1__REPLY__RESULT_##name
#define OK           HOLDFAST__V1__STATUS__STATUS_SUCCESS

enum how {
	HONEST,
	REFUSE,
	STATUS,
	OTHER_ID,
	FIELD,
	FIELD_TOO,
	NO_RESULT,
	WRONG_RESULT,
	NO_FD,
	PLAIN_FD,
	SHORT_FD,
	EMPTY_FD,
	PIPE_FD,
	DEVICE_FD,
	READ_ONLY_FD,
	MANY_FDS,
	COUNT_FDS,
	BITS,
	CUT,
	EMPTY_PACKET,
	TWICE,
	EVENT,
	HANG_UP,
	SILENT,
	MOVED,
	ODD_ENTRY,
	NHOWS
};

/* One answer on its way. */
struct answer_out {
	Holdfast__V1__Reply reply;
	union sys_message body;
	Holdfast__V1__Entry entry[LIAR_ENTRIES];
	Holdfast__V1__Entry *entries[LIAR_ENTRIES];
	Holdfast__V1__Quota quota;
	int fds[SYS_FDS_MAX];
	size_t nfds;
};

bool
liar_init(struct liar *liar)
{
	memset(liar, 0, sizeof(*liar));
	liar->fd = liar->base_fd = liar->span_fd = -1;
	return wire_arena_init(&liar->arena, HOLDFAST_UNPACK_MAX) == 0;
}

static void
close_fd(int *fdp)
{
	if (*fdp >= 0)
		(void)close(*fdp);
	*fdp = -1;
}

void
liar_fini(struct liar *liar)
{
	close_fd(&liar->fd);
	close_fd(&liar->base_fd);
	close_fd(&liar->span_fd);
	wire_arena_fini(&liar->arena);
}

static int
a_memfd(unsigned flags, uint64_t size, int seals)
{
	int fd = memfd_create("liar", flags | MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && (ftruncate(fd, (off_t)size) < 0 ||
			   (seals != 0 && fcntl(fd, F_ADD_SEALS, seals) < 0)))
		close_fd(&fd);
	return fd;
}

/* A duplicate, made when it is first wanted. */
static int
span_fd(struct liar *liar)
{
	if (liar->span_fd < 0)
		liar->span_fd =
		    a_memfd(MFD_HUGETLB | MFD_HUGE_2MB, LIAR_SPAN, 0);
	return liar->span_fd < 0 ? -1 : dup(liar->span_fd);
}

static int
base_fd(struct liar *liar)
{
	if (liar->base_fd < 0)
		liar->base_fd = a_memfd(0, LIAR_SIZE, F_SEAL_SHRINK);
	return liar->base_fd < 0 ? -1 : dup(liar->base_fd);
}

static void
add_fd(struct answer_out *a, int fd)
{
	if (fd >= 0 && a->nfds < SYS_FDS_MAX)
		a->fds[a->nfds++] = fd;
	else
		close_fd(&fd);
}

/* ---- Honest answers -------------------------------------------------------
 */

static void
answer_hello(Holdfast__V1__HelloResult *r)
{
	static char machine[] = "x86_64";

	r->version = 1;
	r->page_size = SYS_PAGE;
	r->frame_size = SYS_FRAME;
	r->addresses_allowed = true;
	r->machine = machine;
	r->packet_max = HOLDFAST_PACKET_MAX;
	r->batch_max = HOLDFAST_BATCH_MAX;
}

/* The first place behind all others that is as it was asked for. */
static uint64_t
place_buffer(const struct liar *liar, const Holdfast__V1__ContigAlloc *op,
    uint64_t size)
{
	uint64_t align = op->alignment > SYS_PAGE ? op->alignment : SYS_PAGE;
	uint64_t offset = liar->brk, last;

	if (op->low > SYS_POOL && op->low - SYS_POOL > offset)
		offset = op->low - SYS_POOL;
	offset = (offset + align - 1) & -align;
	last = offset + size - 1;
	if (op->boundary != 0 && ((offset ^ last) & -op->boundary) != 0)
		offset = (last & -op->boundary) + align - 1;
	return offset & -align;
}

static bool
answer_contig(struct liar *liar, const Holdfast__V1__ContigAlloc *op,
    struct answer_out *a)
{
	Holdfast__V1__ContigAllocResult *r = (void *)&a->body;
	uint64_t size = (op->size + SYS_PAGE - 1) & -SYS_PAGE;
	uint64_t offset = place_buffer(liar, op, size);

	if (size == 0 || size > LIAR_SPAN || offset > LIAR_SPAN - size ||
	    (op->high != 0 && SYS_POOL + offset + size > op->high))
		return false;
	liar->brk = offset + size;
	r->buffer = ++liar->last_id;
	r->size = size;
	r->offset = offset;
	r->span_size = LIAR_SPAN;
	r->frame_size = SYS_FRAME;
	r->span_pa = SYS_POOL;
	r->pa = SYS_POOL + offset;
	r->pin = HOLDFAST__V1__PIN__PIN_LONGTERM;
	r->verified = true;
	r->span = 7;
	add_fd(a, span_fd(liar));
	return true;
}

static bool
place(struct liar *liar, uint64_t start, uint64_t length)
{
	if (liar->nentries == LIAR_ENTRIES || length == 0 || start < LIAR_MIN ||
	    (start | length) % SYS_PAGE != 0 || length > LIAR_SIZE ||
	    start - LIAR_MIN > LIAR_SIZE - length)
		return false;
	liar->entries[liar->nentries].start = start;
	liar->entries[liar->nentries++].end = start + length;
	return true;
}

static uint64_t
behind_all(const struct liar *liar)
{
	return liar->nentries == 0 ? LIAR_MIN
				   : liar->entries[liar->nentries - 1].end;
}

static void
describe(const struct liar *liar, size_t i, Holdfast__V1__Entry *e)
{
	holdfast__v1__entry__init(e);
	e->start = liar->entries[i].start;
	e->end = liar->entries[i].end;
	e->prot = e->max_prot = 3;
	e->inheritance = 1;
	e->kind = HOLDFAST__V1__OBJECT_KIND__OBJECT_KIND_BASE;
	e->file_offset = e->offset = e->start - LIAR_MIN;
}

static void
answer_entries(struct liar *liar, const Holdfast__V1__MapEntries *op,
    struct answer_out *a)
{
	Holdfast__V1__MapEntriesResult *r = (void *)&a->body;

	for (size_t i = 0; i < liar->nentries; i++) {
		Holdfast__V1__Entry *e = &a->entry[r->n_entries];

		if (liar->entries[i].end <= op->from ||
		    (op->end != 0 && liar->entries[i].start >= op->end))
			continue;
		describe(liar, i, e);
		if (op->want_fds) {
			add_fd(a, base_fd(liar));
			e->fd_index = (uint32_t)a->nfds;
		}
		a->entries[r->n_entries++] = e;
	}
	r->entries = a->entries;
	r->nentries = liar->nentries;
	r->timestamp = liar->last_id;
}

static bool
answer_lookup(struct liar *liar, const Holdfast__V1__MapLookup *op,
    struct answer_out *a)
{
	Holdfast__V1__MapLookupResult *r = (void *)&a->body;

	for (size_t i = 0; i < liar->nentries; i++) {
		if (op->addr < liar->entries[i].start ||
		    op->addr >= liar->entries[i].end)
			continue;
		describe(liar, i, &a->entry[0]);
		r->entry = &a->entry[0];
		r->pindex = (op->addr - LIAR_MIN) / SYS_PAGE;
		r->prot = 3;
		return true;
	}
	return false;
}

static void
delete_entry(struct liar *liar, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < liar->nentries; i++)
		if (liar->entries[i].start >= start &&
		    liar->entries[i].end <= end) {
			memmove(&liar->entries[i], &liar->entries[i + 1],
			    (--liar->nentries - i) * sizeof(liar->entries[0]));
			i--;
		}
}

static uint32_t
result_of(uint32_t op)
{
	const ProtobufCFieldDescriptor *f;

	switch (op) {
	case OP(HELLO):
		return RESULT(HELLO);
	case OP(POOL_STATUS):
		return RESULT(POOL_STATUS);
	case OP(TENANT_STATUS):
		return RESULT(TENANT_STATUS);
	case OP(POOL_RUNS):
		return RESULT(POOL_RUNS);
	case OP(MAP_CREATE):
	case OP(MAP_ATTACH):
		return RESULT(MAP);
	case OP(MAP_FINDSPACE):
		return RESULT(MAP_FIND);
	default:
		break;
	}
	/* The others have their request's number, or no result. */
	f = protobuf_c_message_descriptor_get_field(
	    &holdfast__v1__reply__descriptor, op);
	return f != NULL && f->type == PROTOBUF_C_TYPE_MESSAGE ? op : 0;
}

/* false: refused. */
static bool
answer_op(struct liar *liar, const Holdfast__V1__Request *q,
    struct answer_out *a)
{
	Holdfast__V1__MapResult *map = (void *)&a->body;
	Holdfast__V1__MapFindResult *found = (void *)&a->body;
	Holdfast__V1__TenantStatusResult *tenant = (void *)&a->body;

	switch (q->op_case) {
	case OP(HELLO):
		answer_hello((void *)&a->body);
		return true;
	case OP(TENANT_STATUS):
		holdfast__v1__quota__init(&a->quota);
		tenant->bytes = tenant->fds = tenant->requests =
		    tenant->sessions = tenant->base_bytes =
			tenant->map_entries = &a->quota;
		return true;
	case OP(POOL_STATUS):
		((Holdfast__V1__PoolStatusResult *)&a->body)->pin =
		    HOLDFAST__V1__PIN__PIN_NONE;
		return true;
	case OP(CONTIG_ALLOC):
		return answer_contig(liar, q->contig_alloc, a);
	case OP(OBJECT_CREATE):
		((Holdfast__V1__ObjectCreateResult *)&a->body)->object =
		    ++liar->last_id;
		return true;
	case OP(MAP_CREATE):
	case OP(MAP_ATTACH):
		map->map = ++liar->last_id;
		map->min = LIAR_MIN;
		map->max = LIAR_MIN + LIAR_SIZE;
		map->page_size = SYS_PAGE;
		return true;
	case OP(MAP_INSERT):
		return q->map_insert->start >= behind_all(liar) &&
		       place(liar, q->map_insert->start,
			   q->map_insert->end - q->map_insert->start);
	case OP(MAP_FIND):
		found->addr = behind_all(liar);
		return place(liar, found->addr, q->map_find->length);
	case OP(MAP_FINDSPACE):
		found->addr = behind_all(liar);
		return true;
	case OP(MAP_DELETE):
		delete_entry(liar, q->map_delete->start, q->map_delete->end);
		return true;
	case OP(MAP_LOOKUP):
		return answer_lookup(liar, q->map_lookup, a);
	case OP(MAP_ENTRIES):
		answer_entries(liar, q->map_entries, a);
		return true;
	default:
		return true;
	}
}

static void
answer(struct liar *liar, const Holdfast__V1__Request *q, struct answer_out *a)
{
	static char no[] = "no";
	uint32_t result = result_of((uint32_t)q->op_case);
	const ProtobufCFieldDescriptor *f = NULL;

	holdfast__v1__reply__init(&a->reply);
	a->nfds = 0;
	a->reply.id = q->id;
	a->reply.status = OK;
	if (result != 0) {
		f = protobuf_c_message_descriptor_get_field(
		    &holdfast__v1__reply__descriptor, result);
		((const ProtobufCMessageDescriptor *)f->descriptor)
		    ->message_init(&a->body.base);
		a->reply.result_case = (Holdfast__V1__Reply__ResultCase)result;
		a->reply.hello = (void *)&a->body;
	}
	if (answer_op(liar, q, a))
		return;
	a->reply.status = HOLDFAST__V1__STATUS__STATUS_NO_SPACE;
	a->reply.message = no;
	a->reply.result_case = RESULT(_NOT_SET);
}

/* ---- Lies -----------------------------------------------------------------
 */

/* The nth field of the result, or of its first entry, gets another value. */
static void
change_field(struct liar *liar, struct answer_out *a)
{
	ProtobufCMessage *m = &a->body.base;
	const ProtobufCMessageDescriptor *d;
	const ProtobufCFieldDescriptor *f;
	uint64_t v = (liar->operand[1] & 0x80) != 0
			 ? sys_figure(liar->operand[1])
			 : liar->operand[1];

	if (a->reply.result_case == 0)
		return;
	if ((a->reply.result_case == RESULT(MAP_ENTRIES) ||
		a->reply.result_case == RESULT(MAP_LOOKUP)) &&
	    a->entry[0].base.descriptor != NULL && liar->operand[2] < 0xc0) {
		m = &a->entry[0].base;
	}
	d = m->descriptor;
	f = &d->fields[liar->operand[0] % d->n_fields];
	if (f->label == PROTOBUF_C_LABEL_REPEATED ||
	    f->type == PROTOBUF_C_TYPE_STRING ||
	    f->type == PROTOBUF_C_TYPE_MESSAGE)
		return;
	if (liar->operand[3] != 0) { /* near the truth */
		v = 0;
		memcpy(&v, (char *)m + f->offset,
		    f->type == PROTOBUF_C_TYPE_UINT64 ? 8 : 4);
		v += (uint64_t)SYS_PAGE * liar->operand[3];
	}
	memcpy((char *)m + f->offset, &v,
	    f->type == PROTOBUF_C_TYPE_UINT64 ? 8 : 4);
}

/*
 * A buffer somewhere else, with figures that agree with each other: a little
 * to either side, at the very end of the span and a little beyond, or in frames
 * that lie elsewhere.
 */
static void
move_buffer(struct liar *liar, struct answer_out *a)
{
	Holdfast__V1__ContigAllocResult *r = (void *)&a->body;
	uint64_t within = SYS_PAGE * (uint64_t)(int8_t)liar->operand[0];
	uint64_t whole =
	    SYS_FRAME * (((liar->operand[1] & 7) ^ 4) - UINT64_C(4));

	if ((liar->operand[2] & 1) != 0)
		within += r->span_size - r->size - r->offset;
	r->offset += within;
	r->span_pa += whole;
	r->pa += within + whole;
}

/* An entry that cannot be in the map, or not where it stands. */
static void
bend_entry(struct liar *liar, struct answer_out *a)
{
	Holdfast__V1__MapEntriesResult *r = (void *)&a->body;
	uint64_t by = SYS_PAGE * (1u + (liar->operand[1] & 0x1f));
	Holdfast__V1__Entry *e = &a->entry[0];

	if (a->reply.result_case == RESULT(MAP_ENTRIES) && r->n_entries == 0) {
		holdfast__v1__entry__init(e);
		e->start = LIAR_MIN;
		e->end = LIAR_MIN + by;
		r->entries = a->entries;
		a->entries[r->n_entries++] = e;
	}
	if (a->reply.result_case == RESULT(MAP_ENTRIES))
		e = r->entries[liar->operand[2] % r->n_entries];
	switch (liar->operand[0] % 6) {
	case 0:
		e->end = LIAR_MIN + LIAR_SIZE + by;
		break;
	case 1:
		e->start = LIAR_MIN - by;
		break;
	case 2:
		e->end = e->start - by;
		break;
	case 3:
		e->end += by;
		break;
	case 4:
		e->start += liar->operand[1];
		break;
	default:
		e->start -= by;
		break;
	}
}

/* Some lies are about one kind of reply: they wait for it. */
static bool
can_lie(const struct liar *liar, const struct answer_out *a)
{
	switch ((enum how)liar->how) {
	case HONEST:
		return false;
	case MOVED:
		return a->reply.result_case == RESULT(CONTIG_ALLOC);
	case ODD_ENTRY:
		return a->reply.result_case == RESULT(MAP_ENTRIES) ||
		       a->reply.result_case == RESULT(MAP_LOOKUP);
	default:
		return true;
	}
}

static void
swap_fd(struct answer_out *a, int fd)
{
	if (a->nfds > 0)
		close_fd(&a->fds[--a->nfds]);
	add_fd(a, fd);
}

static void
lie_with_fd(struct liar *liar, struct answer_out *a)
{
	int fds[2] = {-1, -1};
	unsigned n = liar->operand[0] % (SYS_FDS_MAX + 1u);

	switch ((enum how)liar->how) {
	case NO_FD:
		while (a->nfds > 0)
			close_fd(&a->fds[--a->nfds]);
		break;
	case PLAIN_FD:
		swap_fd(a, a_memfd(0, LIAR_SPAN, 0));
		break;
	case SHORT_FD:
		swap_fd(a, a_memfd(MFD_HUGETLB | MFD_HUGE_2MB, SYS_FRAME, 0));
		break;
	case EMPTY_FD:
		swap_fd(a, a_memfd(0, 0, F_SEAL_SHRINK));
		break;
	case PIPE_FD:
		if (pipe2(fds, O_CLOEXEC) == 0) {
			close_fd(&fds[1]);
			swap_fd(a, fds[0]);
		}
		break;
	case DEVICE_FD:
		swap_fd(a,
		    open(n % 2 == 0 ? "/dev/zero" : "/", O_RDONLY | O_CLOEXEC));
		break;
	case READ_ONLY_FD:
		swap_fd(a,
		    a_memfd(0, LIAR_SIZE, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE));
		break;
	default:
		while (a->nfds < n)
			add_fd(a, dup(STDIN_FILENO));
		break;
	}
}

static void
lie_with_reply(struct liar *liar, struct answer_out *a)
{
	uint8_t v = liar->operand[0];

	switch ((enum how)liar->how) {
	case REFUSE:
		a->reply.status = (Holdfast__V1__Status)(2 + v % 11);
		break;
	case STATUS:
		a->reply.status = (Holdfast__V1__Status)(v < 128 ? v : v - 256);
		break;
	case OTHER_ID:
		a->reply.id += v + 1u;
		break;
	case NO_RESULT:
		a->reply.result_case = RESULT(_NOT_SET);
		break;
	case WRONG_RESULT:
		if (a->reply.result_case == RESULT(_NOT_SET))
			break;
		a->entry[0].base.descriptor = NULL;
		holdfast__v1__map_find_result__init((void *)&a->body);
		a->reply.result_case = RESULT(MAP_FIND);
		break;
	case MOVED:
		move_buffer(liar, a);
		break;
	case ODD_ENTRY:
		bend_entry(liar, a);
		break;
	case FIELD_TOO:
	case FIELD:
		change_field(liar, a);
		break;
	default:
		lie_with_fd(liar, a);
		break;
	}
}

/* An event, of a map that may be watched. */
static void
send_event(struct liar *liar)
{
	Holdfast__V1__ServerPacket packet = HOLDFAST__V1__SERVER_PACKET__INIT;
	Holdfast__V1__Event event = HOLDFAST__V1__EVENT__INIT;
	Holdfast__V1__Event *events[1] = {&event};
	uint8_t bytes[64];

	event.map = liar->operand[0] != 0 ? liar->operand[0] : liar->last_id;
	event.start = LIAR_MIN + SYS_PAGE * liar->operand[1];
	event.end = event.start + SYS_PAGE * liar->operand[2];
	packet.n_events = 1;
	packet.events = events;
	(void)sys_send(liar->fd, bytes,
	    holdfast__v1__server_packet__pack(&packet, bytes), NULL, 0);
}

static void
send_answer(struct liar *liar, struct answer_out *a, bool lie)
{
	static uint8_t buf[HOLDFAST_PACKET_MAX];
	enum how how = lie ? (enum how)liar->how : HONEST;
	size_t nfds = a->nfds < HOLDFAST_FDS_MAX ? a->nfds : HOLDFAST_FDS_MAX;
	struct wire_out out;

	wire_out_init(&out, buf, sizeof(buf));
	a->reply.nfds = (uint32_t)a->nfds;
	if (how == COUNT_FDS)
		a->reply.nfds += liar->operand[0] + 1u;
	if (wire_append_reply(&out, &a->reply) < 0)
		return;
	if (how == TWICE)
		(void)wire_append_reply(&out, &a->reply);
	if (how == BITS)
		for (unsigned i = 0; i < 3; i++)
			buf[liar->operand[i] * 3u % out.len] ^=
			    (uint8_t)(1u << (liar->operand[i + 1] & 7));
	if (how == CUT)
		out.len = liar->operand[0] % (out.len + 1);
	if (how == EMPTY_PACKET)
		out.len = 0;
	if (how == HANG_UP)
		close_fd(&liar->fd);
	else if (how != SILENT)
		(void)sys_send(liar->fd, buf, out.len, a->fds, nfds);
}

static void
answer_one(struct liar *liar, const Holdfast__V1__Request *q)
{
	static struct answer_out a;
	bool lie;

	memset(&a, 0, sizeof(a));
	answer(liar, q, &a);
	lie = can_lie(liar, &a) && liar->nreplies++ == liar->nth;
	if (lie) {
		liar->lied = true;
		if (liar->how == EVENT)
			send_event(liar);
		lie_with_reply(liar, &a);
	}
	if (liar->fd >= 0)
		send_answer(liar, &a, lie);
	sys_close_all(a.fds, a.nfds);
}

/* The client is about to read: answer what it asked. */
static void
liar_acts(void *arg)
{
	static uint8_t buf[HOLDFAST_PACKET_MAX];
	struct liar *liar = arg;
	Holdfast__V1__ClientPacket *packet;
	int fds[SYS_FDS_MAX];
	size_t nfds;
	ssize_t n;

	while (liar->fd >= 0 &&
	       (n = sys_receive(liar->fd, buf, sizeof(buf), fds, &nfds)) > 0) {
		sys_close_all(fds, nfds);
		wire_arena_reset(&liar->arena);
		packet = wire_unpack_client(&liar->arena, buf, (size_t)n);
		for (size_t i = 0;
		     packet != NULL && i < packet->n_requests && liar->fd >= 0;
		     i++)
			answer_one(liar, packet->requests[i]);
	}
}

bool
liar_listen(struct liar *liar)
{
	int fds[2];

	close_fd(&liar->fd);
	liar->nentries = 0;
	liar->brk = 0;
	liar->lied = false;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return false;
	liar->fd = fds[0];
	sys_env.client_fd = fds[1];
	sys_env.before_receive = liar_acts;
	sys_env.arg = liar;
	return true;
}

void
liar_told(struct liar *liar, const struct sys_record *rec)
{
	liar->how = rec->who >> 3 < NHOWS ? rec->who >> 3
		    : rec->who >> 3 < 28  ? MOVED
					  : ODD_ENTRY;
	liar->nth = rec->who & 3;
	liar->nreplies = 0;
	memcpy(liar->operand, rec->operand, sizeof(liar->operand));
	if (liar->how == EVENT && liar->fd >= 0 && (rec->who & 4) != 0) {
		liar->lied = true;
		send_event(liar);
	}
}
