// SPDX-License-Identifier: MIT
/*
 * The witness: a plugin of QEMU's emulator that counts system calls where the
 * guest cannot touch the count.
 *
 * What it counts, for each vCPU:
 *   syscall, sysenter, int80   instructions executed below the kernel's half
 *   entry.*                    arrivals at the kernel's entry points
 * The difference is what the processor refused: `sysenter` in 64-bit code, or
 * a LOCK prefix, end in an exception and are no calls.
 *
 * The kernel marks two instants by no-ops that only it can execute, since they
 * count in its half of the address space alone: records begin, and the account
 * is taken. All counters are then copied to `began` or `accounted`.
 *
 * The counters are in a shared file, which outlives QEMU however it ends.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plugin.h"

/* The file; lab/run/witness.ts reads it. Little-endian, as the host is. */
#define MAGIC "LMNAWIT1"
#define VCPUS_MAX 64

enum counter { SYSCALL, SYSENTER, INT80, ENTRY_64, ENTRY_SYSCALL32, ENTRY_SYSENTER, ENTRY_INT80, COUNTERS = 8 };

struct sample {
	uint64_t times; /* how often the instant came; the counts are of the last one */
	uint64_t counts[COUNTERS];
};

struct file {
	char magic[8];
	struct sample began;
	struct sample accounted;
	uint64_t pad[5];
	/* A line of the cache each: vCPUs run at once. */
	_Atomic uint64_t vcpu[VCPUS_MAX][COUNTERS] __attribute__((aligned(64)));
};

_Static_assert(sizeof(struct file) == 192 + VCPUS_MAX * 64, "the layout that witness.ts reads");

static struct file *file;

/* The kernel's entry points, by the names of the plugin's arguments. */
static struct entry {
	const char *name;
	enum counter counter;
	uint64_t address;
} entries[] = {
	{ "entry64", ENTRY_64, 0 },
	{ "syscall32", ENTRY_SYSCALL32, 0 },
	{ "sysenter", ENTRY_SYSENTER, 0 },
	{ "int80", ENTRY_INT80, 0 },
};

#define ENTRIES (sizeof(entries) / sizeof(entries[0]))

static void count(unsigned int vcpu, void *arg)
{
	/* Only the sum matters: more vCPUs than lines share them. */
	atomic_fetch_add_explicit(&file->vcpu[vcpu % VCPUS_MAX][(uintptr_t)arg], 1, memory_order_relaxed);
}

static void take(struct sample *sample)
{
	for (int c = 0; c < COUNTERS; c++) {
		uint64_t sum = 0;

		for (int v = 0; v < VCPUS_MAX; v++)
			sum += atomic_load_explicit(&file->vcpu[v][c], memory_order_relaxed);
		sample->counts[c] = sum;
	}
	sample->times++;
}

static void begin(unsigned int vcpu, void *arg)
{
	(void)vcpu, (void)arg;
	take(&file->began);
}

static void account(unsigned int vcpu, void *arg)
{
	(void)vcpu, (void)arg;
	take(&file->accounted);
}

static bool is_prefix(uint8_t byte)
{
	/* REX is one in 64-bit code only; elsewhere these bytes are whole instructions, and then nothing follows. */
	return (byte & 0xf0) == 0x40 || memchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", byte, 11);
}

/* The counter of a system-call instruction; COUNTERS: it is none. */
static enum counter counter_of(const uint8_t *code, size_t size)
{
	while (size > 2 && is_prefix(*code)) {
		code++;
		size--;
	}
	if (size != 2)
		return COUNTERS;
	if (code[0] == 0x0f && code[1] == 0x05)
		return SYSCALL;
	if (code[0] == 0x0f && code[1] == 0x34)
		return SYSENTER;
	if (code[0] == 0xcd && code[1] == 0x80)
		return INT80;
	return COUNTERS;
}

/* LEMONA_WITNESS_*: nopl disp32(%rax), by its displacement. */
static exec_cb note_of(const uint8_t *code, size_t size)
{
	if (size != 7)
		return NULL;
	if (!memcmp(code, "\x0f\x1f\x80LMNB", 7))
		return begin;
	if (!memcmp(code, "\x0f\x1f\x80LMNA", 7))
		return account;
	return NULL;
}

static void look_at_kernel(struct qemu_plugin_insn *insn, uint64_t address)
{
	exec_cb note = note_of(qemu_plugin_insn_data(insn), qemu_plugin_insn_size(insn));

	if (note)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, note, QEMU_PLUGIN_CB_NO_REGS, NULL);
	for (size_t i = 0; i < ENTRIES; i++) {
		if (address == entries[i].address)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, count, QEMU_PLUGIN_CB_NO_REGS,
							       (void *)(uintptr_t)entries[i].counter);
	}
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t count_of_tb = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < count_of_tb; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t address = qemu_plugin_insn_vaddr(insn);
		enum counter counter;

		if (in_kernel_half(address)) {
			look_at_kernel(insn, address);
			continue;
		}
		counter = counter_of(qemu_plugin_insn_data(insn), qemu_plugin_insn_size(insn));
		if (counter != COUNTERS)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, count, QEMU_PLUGIN_CB_NO_REGS,
							       (void *)(uintptr_t)counter);
	}
}

static int refuse(const char *what)
{
	fprintf(stderr, "witness: %s\n", what);
	return -1;
}

static int open_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || ftruncate(fd, sizeof(*file)))
		return refuse("its file cannot be made");
	file = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (file == MAP_FAILED)
		return refuse("its file cannot be mapped");
	memcpy(file->magic, MAGIC, sizeof(file->magic));
	return 0;
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
	const char *path = NULL;

	(void)info;
	for (int i = 0; i < argc; i++) {
		const char *value = strchr(argv[i], '=');

		if (!value++)
			return refuse("an argument without a value");
		if (!strncmp(argv[i], "counts=", 7))
			path = value;
		for (size_t e = 0; e < ENTRIES; e++) {
			if ((size_t)(value - argv[i] - 1) == strlen(entries[e].name) &&
			    !strncmp(argv[i], entries[e].name, strlen(entries[e].name)))
				entries[e].address = strtoull(value, NULL, 16);
		}
	}
	for (size_t e = 0; e < ENTRIES; e++) {
		if (!in_kernel_half(entries[e].address))
			return refuse("the kernel's entry points are not given, or not in its half");
	}
	if (!path)
		return refuse("no file is given");
	if (open_file(path))
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
