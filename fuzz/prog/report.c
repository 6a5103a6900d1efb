/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What vmsh prints: the same for every back end, objects numbered in the
 * order in which they appear.
 */

#include "core/vm_param.h"
#include "fuzz/prog/run.h"

#include <inttypes.h>

static unsigned
object_number(struct hf_printer *p, uint64_t object)
{
	for (unsigned i = 0; i < p->nobjects; i++)
		if (p->objects[i] == object)
			return i + 1;
	if (p->nobjects == nitems(p->objects))
		return 0;
	p->objects[p->nobjects++] = object;
	return p->nobjects;
}

static void
print_object(struct hf_printer *p, uint64_t object, struct hf_buf *out)
{
	if (object == 0)
		hf_buf_printf(out, "none");
	else
		hf_buf_printf(out, "#%u", object_number(p, object));
}

static void
print_prot(uint64_t prot, struct hf_buf *out)
{
	hf_buf_printf(out, "%c%c%c", (prot & VM_PROT_READ) != 0 ? 'r' : '-',
	    (prot & VM_PROT_WRITE) != 0 ? 'w' : '-',
	    (prot & VM_PROT_EXECUTE) != 0 ? 'x' : '-');
}

static void
print_out(struct hf_printer *p, const struct hf_out *o, struct hf_buf *out)
{
	hf_buf_printf(out, " %s=", o->name);
	switch (o->kind) {
	case HF_O_ADDR:
		hf_buf_printf(out, "0x%" PRIx64, o->value);
		break;
	case HF_O_NUM:
		hf_buf_printf(out, "%" PRIu64, o->value);
		break;
	case HF_O_BUF:
		hf_buf_printf(out, "b%" PRIu64, o->value);
		break;
	case HF_O_PROT:
		print_prot(o->value, out);
		break;
	case HF_O_BOOL:
		hf_buf_printf(out, "%s", o->value != 0 ? "true" : "false");
		break;
	case HF_O_OBJECT:
		print_object(p, o->value, out);
		break;
	}
}

static void
print_eflags(uint32_t eflags, struct hf_buf *out)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {{MAP_ENTRY_NOSYNC, "nosync"},
	    {MAP_ENTRY_IS_SUB_MAP, "submap"}, {MAP_ENTRY_COW, "cow"},
	    {MAP_ENTRY_NEEDS_COPY, "needs_copy"},
	    {MAP_ENTRY_NOFAULT, "nofault"},
	    {MAP_ENTRY_USER_WIRED, "user_wired"},
	    {MAP_ENTRY_BEHAV_SEQUENTIAL, "sequential"},
	    {MAP_ENTRY_BEHAV_RANDOM, "random"},
	    {MAP_ENTRY_IN_TRANSITION, "in_transition"},
	    {MAP_ENTRY_NEEDS_WAKEUP, "needs_wakeup"},
	    {MAP_ENTRY_NOCOREDUMP, "nocore"}, {MAP_ENTRY_VN_EXEC, "vn_exec"},
	    {MAP_ENTRY_GROWS_DOWN, "grows_down"},
	    {MAP_ENTRY_WIRE_SKIPPED, "wire_skipped"},
	    {MAP_ENTRY_WRITECNT, "writecount"}, {MAP_ENTRY_GUARD, "guard"},
	    {MAP_ENTRY_STACK_GAP, "stack_gap"}};
	const char *comma = "";

	for (size_t i = 0; i < nitems(names); i++)
		if ((eflags & names[i].bit) != 0) {
			hf_buf_printf(out, "%s%s", comma, names[i].name);
			eflags &= ~names[i].bit;
			comma = ",";
		}
	if (eflags != 0)
		hf_buf_printf(out, "%s0x%x", comma, eflags);
	else if (comma[0] == '\0')
		hf_buf_printf(out, "-");
}

static void
print_entry(struct hf_printer *p, const struct hf_entry *e, struct hf_buf *out)
{
	static const char *const inherit[] = {"share", "copy", "none", "zero"};

	hf_buf_printf(out, "  0x%" PRIx64 " 0x%" PRIx64 " ", e->start, e->end);
	print_prot(e->prot, out);
	hf_buf_printf(out, " ");
	print_prot(e->max, out);
	hf_buf_printf(out, " %s wired=%d flags=",
	    e->inherit < nitems(inherit) ? inherit[e->inherit] : "?", e->wired);
	print_eflags(e->eflags, out);
	hf_buf_printf(out, " object=");
	print_object(p, e->object, out);
	hf_buf_printf(out, " offset=0x%" PRIx64 "\n",
	    e->object != 0 ? e->offset : 0);
}

static void
print_entries(struct hf_printer *p, struct hf_runner *r, unsigned map,
    struct hf_buf *out)
{
	struct hf_entry entries[64];
	size_t n;

	for (size_t k = 0;; k += n) {
		n = r->backend->ops->entries(r->backend, map, k, entries,
		    nitems(entries));
		for (size_t i = 0; i < n; i++)
			print_entry(p, &entries[i], out);
		if (n < nitems(entries))
			break;
	}
}

static void
print_runs(struct hf_runner *r, struct hf_buf *out)
{
	struct hf_run runs[64];
	size_t n;

	for (size_t k = 0;; k += n) {
		n = r->backend->ops->runs(r->backend, k, runs, nitems(runs));
		for (size_t i = 0; i < n; i++)
			hf_buf_printf(out,
			    "  0x%" PRIx64 " 0x%" PRIx64 " domain=%d\n",
			    runs[i].start, runs[i].end, runs[i].domain);
		if (n < nitems(runs))
			break;
	}
}

void
hf_print_result(struct hf_printer *p, struct hf_runner *r,
    const struct hf_call *call, const struct hf_result *res, struct hf_buf *out)
{
	hf_buf_printf(out, "%s: %s", hf_ops[call->op].name,
	    hf_status_name(res->status));
	for (unsigned i = 0; i < res->nouts; i++)
		print_out(p, &res->out[i], out);
	if (p->reasons && res->why[0] != '\0')
		hf_buf_printf(out, " (%s)", res->why);
	hf_buf_printf(out, "\n");
	if (res->status != KERN_SUCCESS)
		return;
	if (call->op == HF_ENTRIES)
		print_entries(p, r, (unsigned)call->v[HF_F_MAP], out);
	else if (call->op == HF_PHYS)
		print_runs(r, out);
}
