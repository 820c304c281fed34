// SPDX-License-Identifier: MIT
/* Registers of PCI devices: read, written with what they hold, and mapped. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <linux/pci.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ways.h"

#define DEVICES "/sys/bus/pci/devices/"
/* QEMU's host bridge, and its IDE controller, which no driver has */
#define BRIDGE DEVICES "0000:00:00.0/config"
#define BRIDGE_PROC "/proc/bus/pci/00/00.0"
#define IDE_PORTS DEVICES "0000:00:01.1/resource4"
#define LATENCY_TIMER 0x0d
#define DMA_STATUS 2
#define IORESOURCE_MEM 0x200

static void write_back(const char *file, off_t at)
{
	int fd = need(open(file, O_RDWR));
	char byte;

	must(pread(fd, &byte, 1, at) == 1);
	must(pwrite(fd, &byte, 1, at) == 1);
	need(close(fd));
}

static void read_all(const char *file)
{
	int fd = need(open(file, O_RDONLY));
	char text[4096];

	while (need(read(fd, text, sizeof(text))))
		;
	need(close(fd));
}

static glob_t found(const char *pattern)
{
	glob_t files;

	must(glob(pattern, 0, NULL, &files) == 0);
	return files;
}

/* As lspci does. */
WAY("pci-read")
{
	static const char *const patterns[] = {
		DEVICES "*/config", DEVICES "*/resource", DEVICES "*/vendor", "/proc/bus/pci/00/*",
	};

	for (int i = 0; i < 4; i++) {
		glob_t files = found(patterns[i]);

		for (size_t k = 0; k < files.gl_pathc; k++)
			read_all(files.gl_pathv[k]);
		globfree(&files);
	}
}

WAY("pci-config")
{
	write_back(BRIDGE, LATENCY_TIMER);
}

WAY("pci-config-proc")
{
	write_back(BRIDGE_PROC, LATENCY_TIMER);
}

WAY("pci-ports")
{
	write_back(IDE_PORTS, DMA_STATUS);
}

/* Of the first device whose second registers are memory: a virtio device's, about interrupts */
static uint64_t find_memory(char device[8])
{
	glob_t files = found(DEVICES "0000:00:*/resource");

	for (size_t i = 0; i < files.gl_pathc; i++) {
		FILE *list = fopen(files.gl_pathv[i], "r");
		uint64_t start, flags;

		must(list && fscanf(list, "%*[^\n] %" SCNx64 " %*x %" SCNx64, &start, &flags) == 2);
		fclose(list);
		if (flags & IORESOURCE_MEM) {
			memcpy(device, files.gl_pathv[i] + strlen(DEVICES "0000:00:"), 4);
			return start;
		}
	}
	must(!"a device with such registers");
	return 0;
}

WAY("pci-map")
{
	char device[8] = "", path[64];

	find_memory(device);
	snprintf(path, sizeof(path), DEVICES "0000:00:%s/resource1", device);
	need(munmap(map_file(need(open(path, O_RDWR)), PAGE), PAGE));
}

WAY("pci-map-proc")
{
	char device[8] = "", path[64];
	uint64_t start = find_memory(device);
	int fd;

	snprintf(path, sizeof(path), "/proc/bus/pci/00/%s", device);
	fd = need(open(path, O_RDWR));
	need(ioctl(fd, PCIIOC_MMAP_IS_MEM));
	need(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, start));
}
