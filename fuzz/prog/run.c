/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The runner: operands to numbers, names to slots, results to names.
 */

#include "fuzz/prog/run.h"
#include "core/vm_param.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Results --------------------------------------------------------------
 */

const char *
hf_status_name(int status)
{
	static const char *const kern[] = {"KERN_SUCCESS",
	    "KERN_INVALID_ADDRESS", "KERN_PROTECTION_FAILURE", "KERN_NO_SPACE",
	    "KERN_INVALID_ARGUMENT", "KERN_FAILURE", "KERN_RESOURCE_SHORTAGE",
	    "KERN_NOT_RECEIVER", "KERN_NO_ACCESS", "KERN_OUT_OF_BOUNDS",
	    "KERN_RESTART", "KERN_WOULD_BLOCK"};

	if (status >= 0 && (size_t)status < nitems(kern))
		return kern[status];
	switch (status) {
	case HF_S_UNKNOWN_ID:
		return "HF_UNKNOWN_ID";
	case HF_S_QUOTA:
		return "HF_QUOTA";
	case HF_S_DENIED:
		return "HF_DENIED";
	case HF_S_EXISTS:
		return "HF_EXISTS";
	case HF_S_NO_POOL:
		return "HF_NO_POOL";
	case HF_S_SKIPPED:
		return "HF_SKIPPED";
	case HF_S_UNSUPPORTED:
		return "HF_UNSUPPORTED";
	default:
		return "HF_UNKNOWN_STATUS";
	}
}

void
hf_result_set(struct hf_result *res, int status)
{
	res->status = status;
	res->nouts = 0;
	res->refused = false;
	res->why[0] = '\0';
}

void
hf_result_out(struct hf_result *res, const char *name, enum hf_out_kind kind,
    uint64_t value)
{
	if (res->nouts < HF_OUTS_MAX)
		res->out[res->nouts++] = (struct hf_out){name, kind, value};
}

/* Short names that mostly differ at once. */
static bool
same_name(const char *a, const char *b)
{
	for (; *a == *b; a++, b++)
		if (*a == '\0')
			return true;
	return false;
}

bool
hf_result_get(const struct hf_result *res, const char *name, uint64_t *vp)
{
	for (unsigned i = 0; i < res->nouts; i++)
		if (same_name(res->out[i].name, name)) {
			*vp = res->out[i].value;
			return true;
		}
	return false;
}

static void __attribute__((format(printf, 3, 4)))
refuse(struct hf_result *res, int status, const char *format, ...)
{
	va_list args;

	hf_result_set(res, status);
	res->refused = true;
	if (res->quiet)
		return;
	va_start(args, format);
	(void)vsnprintf(res->why, sizeof(res->why), format, args);
	va_end(args);
}

/* ---- Where operands are anchored ------------------------------------------
 */

static vm_size_t
super_size(const struct hf_runner *r)
{
	return r->machine->nsuper > 0 ? r->machine->super[0]
				      : r->machine->page_size;
}

/* Entry k, modulo how many there are.  false: the map is empty. */
static bool
entry_at(struct hf_runner *r, unsigned map, size_t k, struct hf_entry *ep)
{
	const struct hf_backend_ops *ops = r->backend->ops;
	size_t n = r->maps[map].live ? ops->nentries(r->backend, map) : 0;

	return n > 0 && ops->entries(r->backend, map,
			    k == SIZE_MAX ? n - 1 : k % n, ep, 1) == 1;
}

static const struct hf_buffer *
nth_buffer(const struct hf_runner *r, unsigned k)
{
	unsigned live = 0;

	for (unsigned i = 0; i < HF_BUFS; i++)
		live += r->bufs[i].live;
	if (live == 0)
		return NULL;
	k %= live;
	for (unsigned i = 0;; i++)
		if (r->bufs[i].live && k-- == 0)
			return &r->bufs[i];
}

static const struct hf_buffer *
buffer_by_id(const struct hf_runner *r, uint64_t id)
{
	for (unsigned i = 0; i < HF_BUFS; i++)
		if (r->bufs[i].live && r->bufs[i].id == id)
			return &r->bufs[i];
	return NULL;
}

static const struct hf_buffer *
find_buffer(const struct hf_runner *r, uint64_t id)
{
	const struct hf_buffer *buf = buffer_by_id(r, id);

	if (buf != NULL || r->header.exact)
		return buf;
	return nth_buffer(r, (unsigned)id);
}

static uint64_t
phys_edge(const struct hf_runner *r, bool top)
{
	uint64_t best = top ? 0 : UINT64_MAX;

	for (unsigned i = 0; i < r->nsegs; i++)
		if (top)
			best = MAX(best, r->segs[i].end);
		else
			best = MIN(best, r->segs[i].start);
	return r->nsegs == 0 ? 0 : best;
}

static uint64_t
edge(struct hf_runner *r, unsigned map, unsigned which)
{
	vm_offset_t min = r->maps[map].min, max = r->maps[map].max;
	struct hf_entry entry;

	switch (which) {
	case HF_E_ALL:
		return UINT64_MAX;
	case HF_E_HALF:
		return UINT64_C(1) << 63;
	case HF_E_G2:
		return UINT64_C(1) << 31;
	case HF_E_G4:
		return UINT64_C(1) << 32;
	case HF_E_UMIN:
		return r->machine->user_min;
	case HF_E_UMAX:
		return r->machine->user_max;
	case HF_E_MID:
		return rounddown2(min + (max - min) / 2, r->machine->page_size);
	case HF_E_FIRST:
		return entry_at(r, map, 0, &entry) ? entry.start : min;
	case HF_E_LAST:
		return entry_at(r, map, SIZE_MAX, &entry) ? entry.end : max;
	case HF_E_WRAP:
		return -r->machine->page_size;
	case HF_E_M16:
		return UINT64_C(1) << 24;
	case HF_E_T48:
		return UINT64_C(1) << 48;
	case HF_E_PTOP:
		return phys_edge(r, true);
	case HF_E_PBOT:
		return phys_edge(r, false);
	case HF_E_PMAX:
		return UINT64_C(1) << r->machine->paddr_bits;
	default:
		return 0;
	}
}

static uint64_t
entry_anchor(struct hf_runner *r, unsigned map, const struct hf_expr *e)
{
	struct hf_entry entry;

	if (!entry_at(r, map, e->idx, &entry))
		return r->maps[map].min;
	switch (e->anchor) {
	case HF_AN_START:
		return entry.start;
	case HF_AN_END:
		return entry.end;
	default:
		return rounddown2(entry.start + (entry.end - entry.start) / 2,
		    r->machine->page_size);
	}
}

static uint64_t
anchor(struct hf_runner *r, unsigned map, const struct hf_expr *e)
{
	vm_offset_t min = r->maps[map].min, max = r->maps[map].max;
	vm_size_t lead = r->preset != NULL ? r->preset->lead : 0;
	vm_offset_t low = lead < max - min ? min + lead : min;
	const struct hf_buffer *buf;

	switch (e->anchor) {
	case HF_AN_MIN:
		return low;
	case HF_AN_TOP:
		return max;
	case HF_AN_SUP:
		return roundup2(low, super_size(r));
	case HF_AN_START:
	case HF_AN_MID:
	case HF_AN_END:
		return entry_anchor(r, map, e);
	case HF_AN_RESULT:
		return r->results[(r->nresults - 1 - e->idx) % HF_RESULTS];
	case HF_AN_EDGE:
		return edge(r, map, e->idx);
	case HF_AN_SPAN:
		return rounddown2((max - min) / (e->div != 0 ? e->div : 1),
		    r->machine->page_size);
	case HF_AN_BUF_START:
		buf = find_buffer(r, e->idx);
		return buf != NULL ? buf->pa : 0;
	case HF_AN_BUF_END:
		buf = find_buffer(r, e->idx);
		return buf != NULL ? buf->pa + roundup2(buf->size,
						   r->machine->page_size)
				   : 0;
	case HF_AN_SEG_START:
		return r->nsegs > 0 ? r->segs[e->idx % r->nsegs].start : 0;
	case HF_AN_SEG_END:
		return r->nsegs > 0 ? r->segs[e->idx % r->nsegs].end : 0;
	default:
		return 0;
	}
}

static bool
is_physical(uint8_t anchor)
{
	return anchor == HF_AN_PA || anchor == HF_AN_SPA ||
	       anchor == HF_AN_BUF_START || anchor == HF_AN_BUF_END ||
	       anchor == HF_AN_SEG_START || anchor == HF_AN_SEG_END;
}

static uint64_t
value(struct hf_runner *r, unsigned map, const struct hf_expr *e)
{
	vm_size_t unit = r->machine->page_size;

	if (e->literal)
		return e->b;
	if (r->preset != NULL && r->preset->unit != 0 &&
	    !is_physical(e->anchor))
		unit = r->preset->unit;
	return anchor(r, map, e) + (uint64_t)e->s * super_size(r) +
	       (uint64_t)e->p * unit + e->b;
}

/* ---- Names ----------------------------------------------------------------
 */

/* The live map that slot `n` means, or HF_MAPS. */
static unsigned
map_slot(const struct hf_runner *r, uint64_t n)
{
	unsigned live = 0;

	if (n < HF_MAPS && r->maps[n].live)
		return (unsigned)n;
	if (r->header.exact)
		return HF_MAPS;
	for (unsigned i = 0; i < HF_MAPS; i++)
		live += r->maps[i].live;
	if (live == 0)
		return HF_MAPS;
	n %= live;
	for (unsigned i = 0;; i++)
		if (r->maps[i].live && n-- == 0)
			return i;
}

/* The same for an object; 0: none. */
static unsigned
object_slot(const struct hf_runner *r, uint64_t n)
{
	unsigned live = 0;

	if (n == 0 || (n < HF_OBJS && r->objs[n]))
		return (unsigned)n;
	if (r->header.exact)
		return HF_OBJS;
	for (unsigned i = 1; i < HF_OBJS; i++)
		live += r->objs[i];
	if (live == 0)
		return 0;
	n %= live;
	for (unsigned i = 1;; i++)
		if (r->objs[i] && n-- == 0)
			return i;
}

/* What slots an operation reads and makes. */
static bool
makes_map(uint8_t op)
{
	return op == HF_MAP;
}

static bool
uses_map(uint8_t op)
{
	return !makes_map(op) && hf_field(op, HF_F_MAP) != NULL;
}

static bool
names_maps(struct hf_runner *r, struct hf_call *call, struct hf_result *res)
{
	uint64_t *v = call->v;
	unsigned slot;

	if (uses_map(call->op)) {
		slot = map_slot(r, v[HF_F_MAP]);
		if (slot == HF_MAPS) {
			refuse(res, HF_S_UNKNOWN_ID, "there is no map m%u",
			    (unsigned)v[HF_F_MAP]);
			return false;
		}
		v[HF_F_MAP] = slot;
	}
	if (makes_map(call->op) || call->op == HF_FORK) {
		enum hf_field f = call->op == HF_FORK ? HF_F_MAP2 : HF_F_MAP;

		if (v[f] >= HF_MAPS || r->maps[v[f]].live) {
			refuse(res, HF_S_EXISTS, "m%u is taken, or too high",
			    (unsigned)v[f]);
			return false;
		}
	}
	if (call->op == HF_SUBMAP) {
		slot = map_slot(r, v[HF_F_MAP2]);
		if (slot == HF_MAPS) {
			refuse(res, HF_S_UNKNOWN_ID, "there is no such submap");
			return false;
		}
		v[HF_F_MAP2] = slot;
	}
	return true;
}

static bool
names_object(struct hf_runner *r, struct hf_call *call, struct hf_result *res)
{
	uint64_t *v = call->v;
	unsigned slot;

	if (call->op == HF_OBJECT) {
		if (v[HF_F_OBJ] != 0 && v[HF_F_OBJ] < HF_OBJS &&
		    !r->objs[v[HF_F_OBJ]])
			return true;
		refuse(res, HF_S_EXISTS, "o%u is taken, or no number for one",
		    (unsigned)v[HF_F_OBJ]);
		return false;
	}
	if (hf_field(call->op, HF_F_OBJ) == NULL)
		return true;
	slot = object_slot(r, v[HF_F_OBJ]);
	if (slot == HF_OBJS || (slot == 0 && call->op == HF_DEREF)) {
		refuse(res, HF_S_UNKNOWN_ID, "there is no object o%u",
		    (unsigned)v[HF_F_OBJ]);
		return false;
	}
	v[HF_F_OBJ] = slot;
	return true;
}

/* A buffer travels as its slot; `contig` gets a free one. */
static bool
names_buffer(struct hf_runner *r, struct hf_call *call, struct hf_result *res)
{
	const struct hf_buffer *buf = NULL;

	if (call->op == HF_CONTIG) {
		for (unsigned i = 0; i < HF_BUFS && buf == NULL; i++)
			if (!r->bufs[i].live)
				buf = &r->bufs[i];
		if (buf == NULL)
			refuse(res, HF_S_QUOTA, "too many buffers at a time");
	} else if (call->op == HF_CONTIGFREE) {
		buf = find_buffer(r, call->v[HF_F_BUF]);
		if (buf == NULL)
			refuse(res, HF_S_UNKNOWN_ID, "there is no buffer b%u",
			    (unsigned)call->v[HF_F_BUF]);
	} else {
		return true;
	}
	if (buf == NULL)
		return false;
	call->v[HF_F_BUF] = (uint64_t)(buf - r->bufs);
	return true;
}

/* ---- What an operation leaves behind --------------------------------------
 */

static void
remember(struct hf_runner *r, uint64_t addr)
{
	r->results[r->nresults++ % HF_RESULTS] = addr;
}

static void
note_buffer(struct hf_runner *r, const struct hf_call *call,
    struct hf_result *res)
{
	struct hf_buffer *buf = &r->bufs[call->v[HF_F_BUF]];
	uint64_t pa = 0;

	if (call->op == HF_CONTIGFREE) {
		buf->live = false;
		return;
	}
	(void)hf_result_get(res, "pa", &pa); /* hidden by some daemons */
	*buf = (struct hf_buffer){.live = true,
	    .id = ++r->next_buf,
	    .pa = pa,
	    .size = call->v[HF_F_LEN]};
	hf_result_out(res, "buf", HF_O_BUF, buf->id);
	remember(r, pa);
}

static void
note_map(struct hf_runner *r, const struct hf_call *call)
{
	const uint64_t *v = call->v;

	if (call->op == HF_DESTROY) {
		r->maps[v[HF_F_MAP]].live = false;
	} else if (call->op == HF_FORK) {
		r->maps[v[HF_F_MAP2]] = r->maps[v[HF_F_MAP]];
	} else {
		r->maps[v[HF_F_MAP]].live = true;
		r->maps[v[HF_F_MAP]].min = v[HF_F_A];
		r->maps[v[HF_F_MAP]].max = v[HF_F_B];
		r->had_map = true;
	}
}

/* The world starts again: nothing of the old one has a name. */
static void
note_world(struct hf_runner *r, const struct hf_call *call)
{
	static const char *const archs[] = {"x86_64", "aarch64", "riscv64"};
	uint64_t arch = call->v[HF_F_ARCH];

	r->machine = arch < nitems(archs)
			 ? arch_machine_find(archs[arch], call->v[HF_F_PAGE])
			 : arch_machine_host();
	if (r->machine == NULL)
		r->machine = arch_machine_host();
	memset(r->maps, 0, sizeof(r->maps));
	memset(r->objs, 0, sizeof(r->objs));
	memset(r->bufs, 0, sizeof(r->bufs));
	memset(r->results, 0, sizeof(r->results));
	r->nsegs = r->nresults = 0;
	r->next_buf = 0;
	r->had_map = false;
	for (unsigned i = 0; i < HF_MAPS; i++) {
		r->maps[i].min =
		    roundup2(r->preset->map_min, r->machine->page_size);
		r->maps[i].max = r->preset->map_max;
	}
}

static void
note(struct hf_runner *r, const struct hf_call *call, struct hf_result *res)
{
	uint64_t addr;

	switch (call->op) {
	case HF_WORLD:
		note_world(r, call);
		break;
	case HF_SEG:
		if (r->nsegs < HF_SEGS)
			r->segs[r->nsegs++] = (struct hf_run){call->v[HF_F_A],
			    call->v[HF_F_B], (int)call->v[HF_F_DOMAIN]};
		break;
	case HF_MAP:
	case HF_DESTROY:
	case HF_FORK:
		note_map(r, call);
		break;
	case HF_OBJECT:
		r->objs[call->v[HF_F_OBJ]] = true;
		break;
	case HF_DEREF:
		r->objs[call->v[HF_F_OBJ]] = false;
		break;
	case HF_CONTIG:
	case HF_CONTIGFREE:
		note_buffer(r, call, res);
		break;
	default:
		if (hf_result_get(res, "addr", &addr))
			remember(r, addr);
		break;
	}
}

/* ---- Running --------------------------------------------------------------
 */

static void
tell(struct hf_runner *r, const struct hf_inst *inst,
    const struct hf_call *call, const struct hf_result *res)
{
	if (r->observer.called != NULL &&
	    !r->observer.called(r->observer.arg, r, inst, call, res))
		r->stopped = true;
}

/* An operation whose operands are numbers. */
static void
call_backend(struct hf_runner *r, const struct hf_inst *inst,
    struct hf_call *call)
{
	struct hf_result res;

	res.quiet = r->options.quiet;
	hf_result_set(&res, KERN_SUCCESS);
	if (r->observer.before != NULL &&
	    !r->observer.before(r->observer.arg, r, call))
		return;
	if (names_maps(r, call, &res) && names_object(r, call, &res) &&
	    names_buffer(r, call, &res)) {
		r->backend->ops->call(r->backend, call, &res);
		if (res.status == KERN_SUCCESS)
			note(r, call, &res);
	}
	tell(r, inst, call, &res);
}

/*
 * The first map comes by itself where a program never makes one, and again
 * where a loose one has destroyed its last.
 */
static void
imply_map(struct hf_runner *r, uint8_t op)
{
	struct hf_call call = {.op = HF_MAP};

	if (!uses_map(op) || (r->had_map && r->header.exact))
		return;
	for (unsigned i = 0; i < HF_MAPS; i++)
		if (r->maps[i].live)
			return;
	call.v[HF_F_A] = r->maps[0].min;
	call.v[HF_F_B] = r->maps[0].max;
	call_backend(r, NULL, &call);
}

void
hf_runner_init(struct hf_runner *r, struct hf_backend *backend,
    const struct hf_options *options, const struct hf_observer *observer,
    const uint8_t *data, size_t size)
{
	struct hf_call call = {.op = HF_WORLD};

	memset(r, 0, sizeof(*r));
	r->backend = backend;
	if (options != NULL)
		r->options = *options;
	if (observer != NULL)
		r->observer = *observer;
	hf_header_read(data, size, &r->header);
	if (r->options.loose)
		r->header.exact = false;
	r->preset = hf_preset(r->header.preset);
	r->machine = arch_machine_host();
	call.v[HF_F_ARCH] = strcmp(r->preset->machine, "aarch64") == 0   ? 1
			    : strcmp(r->preset->machine, "riscv64") == 0 ? 2
									 : 0;
	call.v[HF_F_PAGE] = r->preset->page_size;
	call.v[HF_F_COMPAT] = r->header.compat;
	call_backend(r, NULL, &call);
	for (unsigned i = 0;
	     i < nitems(r->preset->segs) && r->preset->segs[i].end != 0; i++) {
		call = (struct hf_call){.op = HF_SEG};
		call.v[HF_F_A] = r->preset->segs[i].start;
		call.v[HF_F_B] = r->preset->segs[i].end;
		call.v[HF_F_DOMAIN] = (uint64_t)r->preset->segs[i].domain;
		call_backend(r, NULL, &call);
	}
}

/* Fault injection that the header asks for. */
static void
inject(struct hf_runner *r)
{
	struct hf_call call = {.op = HF_INJECT};
	uint64_t nth = r->header.nth;

	if (r->options.no_faults || r->header.fault == 0 ||
	    (r->header.fault == 3 ? nth == 0 || r->nops % nth != 0
				  : r->nops != 1))
		return;
	call.v[HF_F_NTH] = r->header.fault == 3 ? 1 : nth;
	call.v[HF_F_STICKY] = r->header.fault == 2;
	call_backend(r, NULL, &call);
}

static void
resolve(struct hf_runner *r, const struct hf_inst *inst, struct hf_call *call)
{
	const struct hf_opdef *def = &hf_ops[inst->op];
	bool has_end = false;
	struct hf_expr e;
	unsigned map;

	call->op = inst->op;
	for (unsigned i = 0; i < def->nfields; i++) {
		const struct hf_fielddef *f = &def->fields[i];

		if (f->width == 0 && (inst->ext.set >> f->field & 1) == 0)
			continue;
		hf_operand(inst, f, &e);
		map = call->v[HF_F_MAP] < HF_MAPS ? (unsigned)call->v[HF_F_MAP]
						  : 0;
		if (f->type == HF_T_ADDR && map_slot(r, map) != HF_MAPS)
			map = map_slot(r, map);
		call->v[f->field] = value(r, map, &e);
		has_end |= f->field == HF_F_END;
	}
	if (hf_field(inst->op, HF_F_LEN) == NULL)
		return;
	if (has_end)
		call->v[HF_F_LEN] = call->v[HF_F_END] - call->v[HF_F_A];
	else
		call->v[HF_F_END] = call->v[HF_F_A] + call->v[HF_F_LEN];
}

/* Was the operation taken away, or does it mean nothing? */
static bool
is_skipped(const struct hf_runner *r, uint8_t op)
{
	return op == HF_NOP || (r->header.swarm >> (op % 32) & 1) != 0 ||
	       (r->options.ops != 0 && (r->options.ops >> op & 1) == 0);
}

void
hf_runner_step(struct hf_runner *r, const struct hf_inst *inst)
{
	struct hf_call call = {0};
	struct hf_result res;

	if (is_skipped(r, inst->op)) {
		call.op = inst->op;
		res.quiet = r->options.quiet;
		hf_result_set(&res,
		    inst->op == HF_NOP ? KERN_SUCCESS : HF_S_SKIPPED);
		res.refused = true;
		tell(r, inst, &call, &res);
		return;
	}
	r->nops++;
	imply_map(r, inst->op);
	inject(r);
	resolve(r, inst, &call);
	call_backend(r, inst, &call);
}

void
hf_run(struct hf_runner *r, const uint8_t *data, size_t size)
{
	struct hf_inst inst;
	size_t off = 0;

	while (!r->stopped &&
	       (r->options.nops_max == 0 || r->nops < r->options.nops_max) &&
	       hf_next(data, size, &off, &inst))
		hf_runner_step(r, &inst);
}
