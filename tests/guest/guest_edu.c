/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A real DMA engine through holdfast memory.
 *
 * QEMU's `edu` device (PCI 1234:11e8) reaches only the first 256 MiB of
 * physical memory and knows nothing but physical addresses.  Ask the daemon
 * for a buffer with high = 1 << 28, let the device copy a pattern out of it
 * and back into another part of it, and compare.
 *
 *	guest_edu SOCKET
 */

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "clients/libholdfast/holdfast.h"

#define EDU_SOURCE      0x80
#define EDU_DESTINATION 0x88
#define EDU_COUNT       0x90
#define EDU_COMMAND     0x98
#define EDU_START       1u
#define EDU_FROM_DEVICE 2u
#define EDU_BUFFER      0x40000u /* the device's own memory */
#define EDU_BYTES       2048u    /* QEMU 7.2 refuses all of its 4,096 */
#define EDU_HIGH        (UINT64_C(1) << 28)
#define BACK            0x8000u /* where in the buffer it comes back to */

static unsigned long
sysfs_number(const char *device, const char *name)
{
	char path[256], text[32] = "";
	int fd;

	(void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device,
	    name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	(void)!read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	return strtoul(text, NULL, 0);
}

static bool
find_device(char *device, size_t size)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	bool found = false;

	if (dir == NULL)
		return false;
	for (struct dirent *d; !found && (d = readdir(dir)) != NULL;)
		if (sysfs_number(d->d_name, "vendor") == 0x1234 &&
		    sysfs_number(d->d_name, "device") == 0x11e8) {
			found = strlen(d->d_name) < size;
			if (found)
				memcpy(device, d->d_name,
				    strlen(d->d_name) + 1);
		}
	(void)closedir(dir);
	return found;
}

static int
open_sysfs(const char *device, const char *name)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device,
	    name);
	fd = open(path, O_RDWR | O_CLOEXEC | O_SYNC);
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

/* Enable the device, let it master the bus, and map its registers. */
static volatile uint8_t *
map_device(const char *device)
{
	int enable = open_sysfs(device, "enable");
	int config = open_sysfs(device, "config");
	int resource = open_sysfs(device, "resource0");
	uint16_t command;
	void *registers;

	if (write(enable, "1", 1) != 1)
		err(1, "enable");
	if (pread(config, &command, 2, 4) != 2)
		err(1, "config");
	command |= 0x6; /* memory space, bus master */
	if (pwrite(config, &command, 2, 4) != 2)
		err(1, "config");
	registers = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED,
	    resource, 0);
	if (registers == MAP_FAILED)
		err(1, "resource0");
	(void)close(enable);
	(void)close(config);
	(void)close(resource);
	return registers;
}

static void
put(volatile uint8_t *registers, size_t at, uint64_t value)
{
	*(volatile uint32_t *)(registers + at) = (uint32_t)value;
	*(volatile uint32_t *)(registers + at + 4) = (uint32_t)(value >> 32);
}

static void
copy(volatile uint8_t *registers, uint64_t source, uint64_t destination,
    uint32_t direction)
{
	struct timespec pause = {.tv_nsec = 1000000};

	put(registers, EDU_SOURCE, source);
	put(registers, EDU_DESTINATION, destination);
	put(registers, EDU_COUNT, EDU_BYTES);
	*(volatile uint32_t *)(registers + EDU_COMMAND) = EDU_START | direction;
	for (int i = 0; i < 5000; i++) {
		if ((*(volatile uint32_t *)(registers + EDU_COMMAND) &
			EDU_START) == 0)
			return;
		(void)nanosleep(&pause, NULL); /* the device's own pace */
	}
	errx(1, "the device did not finish");
}

int
main(int argc, char **argv)
{
	struct holdfast_options options = {.name = "guest_edu"};
	struct holdfast_contig_req req = {.size = 64 << 10,
	    .high = EDU_HIGH,
	    .flags = HF_M_ZERO};
	struct holdfast_buf *buf;
	volatile uint8_t *registers;
	struct holdfast *h;
	uint8_t *bytes;
	char device[64];
	int rv;

	if (argc != 2)
		errx(2, "usage: guest_edu SOCKET");
	if (!find_device(device, sizeof(device)))
		errx(1, "no edu device");
	registers = map_device(device);
	options.socket_path = argv[1];
	rv = holdfast_connect(&options, &h);
	if (rv != HF_OK)
		errx(1, "connect: %s", holdfast_status_name(rv));
	rv = holdfast_contigmalloc(h, &req, &buf);
	if (rv != HF_OK)
		errx(1, "contigmalloc: %s: %s", holdfast_status_name(rv),
		    holdfast_error(h));
	printf("buffer at physical %#llx, below %#llx\n",
	    (unsigned long long)buf->pa, (unsigned long long)EDU_HIGH);
	if (buf->pa == 0 || buf->pa + buf->size > EDU_HIGH)
		errx(1, "the buffer is out of the device's reach");
	bytes = buf->addr;
	for (size_t i = 0; i < EDU_BYTES; i++)
		bytes[i] = (uint8_t)(i * 7 + 3);
	copy(registers, buf->pa, EDU_BUFFER, 0);
	copy(registers, EDU_BUFFER, buf->pa + BACK, EDU_FROM_DEVICE);
	for (size_t i = 0; i < EDU_BYTES; i++)
		if (bytes[BACK + i] != (uint8_t)(i * 7 + 3))
			errx(1, "byte %zu is %#x", i, bytes[BACK + i]);
	for (size_t i = EDU_BYTES; i < BACK; i++)
		if (bytes[i] != 0)
			errx(1, "byte %zu was hit too", i);
	printf("%u bytes went out by DMA and came back\n", EDU_BYTES);
	rv = holdfast_contigfree(h, buf);
	holdfast_close(h);
	return rv == HF_OK ? 0 : 1;
}
