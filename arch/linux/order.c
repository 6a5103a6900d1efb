/* SPDX-License-Identifier: BSD-2-Clause */
#include <sched.h>

#include "arch/linux/linux_int.h"
#include "core/kassert.h"

/*
 * Who may free a frame now, given that he wants the same one back.
 *
 * "Free here, take there" must not be interleaved with another thread's, but
 * most of taking is the kernel zeroing the frame, long after it came off the
 * free list.  So a turn has two parts:
 *
 *	HELD	the owner frees; nobody else may free or take
 *	TAKING	the owner is in fallocate and next waits for zeroes
 *
 * A thread that waits looks at the kernel's count of free huge pages: once it
 * is below what it was when the owner had freed, the owner has his frame and
 * the turn may pass on.  Where other processes change the count the turn may
 * pass too early, or only when the owner returns.  Too early means that two
 * threads may get each other's frame, which the read-back finds: it costs a
 * retry, never an error in the inventory.
 */

/* Looks before a waiter goes to sleep, about a microsecond each. */
#define ORDER_LOOKS 200

void
order_init(struct order *order)
{
	*order = (struct order){.state = ORDER_IDLE};
	pthread_mutex_init(&order->lock, NULL);
	pthread_cond_init(&order->idle, NULL);
}

void
order_fini(struct order *order)
{
	MPASS(order->state == ORDER_IDLE);
	pthread_cond_destroy(&order->idle);
	pthread_mutex_destroy(&order->lock);
}

/* Has the owner of this turn taken his frame?  Drops the lock meanwhile. */
static bool
turn_is_over(struct linux_pool *lp)
{
	struct order *order = &lp->lp_order;
	uint64_t turn = order->turn;
	size_t until = order->until;
	size_t nfree = SIZE_MAX;
	bool look = order->state == ORDER_TAKING;

	pthread_mutex_unlock(&order->lock);
	if (look)
		nfree = sysfs_nfree(lp);
	else
		sched_yield();
	pthread_mutex_lock(&order->lock);
	return order->state == ORDER_IDLE ||
	       (order->state == ORDER_TAKING && order->turn == turn && look &&
		   nfree < until);
}

void
order_enter(struct linux_pool *lp)
{
	struct order *order = &lp->lp_order;
	unsigned looks = 0;

	pthread_mutex_lock(&order->lock);
	while (order->state != ORDER_IDLE) {
		if (looks++ >= ORDER_LOOKS)
			pthread_cond_wait(&order->idle, &order->lock);
		else if (turn_is_over(lp))
			break;
	}
	order->state = ORDER_HELD;
	order->turn++;
	pthread_mutex_unlock(&order->lock);
}

uint64_t
order_pass(struct linux_pool *lp)
{
	struct order *order = &lp->lp_order;
	size_t nfree = sysfs_nfree(lp);
	uint64_t turn;

	pthread_mutex_lock(&order->lock);
	MPASS(order->state == ORDER_HELD);
	order->state = ORDER_TAKING;
	order->until = nfree == SIZE_MAX ? 0 : nfree;
	turn = order->turn;
	pthread_mutex_unlock(&order->lock);
	return turn;
}

void
order_leave(struct linux_pool *lp, uint64_t turn)
{
	struct order *order = &lp->lp_order;

	pthread_mutex_lock(&order->lock);
	if (order->turn == turn) {
		MPASS(order->state == ORDER_TAKING);
		order->state = ORDER_IDLE;
		pthread_cond_signal(&order->idle);
	}
	pthread_mutex_unlock(&order->lock);
}
