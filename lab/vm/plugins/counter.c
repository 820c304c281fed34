// SPDX-License-Identifier: MIT
/*
 * The counter: a plugin of QEMU's emulator that counts the instructions a
 * guest executes, those of its programs together and those of its kernel by
 * function, between two no-ops that a program of the guest executes.
 *
 *   symbols=FILE   first addresses of the kernel's functions, ascending, u64
 *   counts=FILE    what it writes, as struct file draws it
 *
 * Meant for one vCPU: the sums are made inline, without atomics. An instruction
 * that faults and is executed again counts twice, as it does for the processor.
 *
 * The counts are in a shared file, which outlives QEMU however it ends.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugin.h"

/* The file; lab/bench/counts.ts reads it. Little-endian, as the host is. */
#define MAGIC "LMNACNT1"

struct file {
	char magic[8];
	uint32_t functions;
	uint32_t spans;	  /* that came to their end */
	uint64_t begun;	  /* spans begun */
	uint64_t pad;
	/*
	 * Rows of 1 + functions counters: programs, then each function. The
	 * first row is what is counted now; one row more for each span.
	 */
	uint64_t rows[];
};

/* Bounds the file: a bench asks for fewer. */
#define SPANS_MAX 256

static struct file *file;
static const uint64_t *symbols;
static size_t functions;

static size_t columns(void)
{
	return 1 + functions;
}

/* Index of the counter of an address of the kernel's: 1 for what lies before the first function. */
static size_t column_of(uint64_t address)
{
	size_t low = 0, high = functions;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (symbols[middle] <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? low : 1;
}

/* A row holds what was counted at the beginning while its span goes on, and the difference after it. */
static uint64_t *row_of_span(void)
{
	return file->spans < SPANS_MAX ? file->rows + (1 + file->spans) * columns() : NULL;
}

static void begin(unsigned int vcpu, void *arg)
{
	uint64_t *row = row_of_span();

	(void)vcpu, (void)arg;
	if (!row)
		return;
	file->begun++;
	memcpy(row, file->rows, columns() * sizeof(*row));
}

static void end(unsigned int vcpu, void *arg)
{
	uint64_t *row = row_of_span();

	(void)vcpu, (void)arg;
	if (!row)
		return;
	for (size_t i = 0; i < columns(); i++)
		row[i] = file->rows[i] - row[i];
	file->spans++;
}

/* nopl disp32(%rax), by its displacement: lab/bench/guest/span.h executes them. */
static exec_cb note_of(const uint8_t *code, size_t size)
{
	if (size != 7)
		return NULL;
	if (!memcmp(code, "\x0f\x1f\x80LMNS", 7))
		return begin;
	if (!memcmp(code, "\x0f\x1f\x80LMNE", 7))
		return end;
	return NULL;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t address = qemu_plugin_insn_vaddr(insn);
		size_t column = 0;

		if (in_kernel_half(address)) {
			column = column_of(address);
		} else {
			exec_cb note = note_of(qemu_plugin_insn_data(insn), qemu_plugin_insn_size(insn));

			if (note)
				qemu_plugin_register_vcpu_insn_exec_cb(insn, note, QEMU_PLUGIN_CB_NO_REGS, NULL);
		}
		qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &file->rows[column], 1);
	}
}

static int refuse(const char *what)
{
	fprintf(stderr, "counter: %s\n", what);
	return -1;
}

static int open_symbols(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *map;

	if (fd < 0 || fstat(fd, &st) || st.st_size < 8)
		return refuse("the file of symbols cannot be read");
	map = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return refuse("the file of symbols cannot be mapped");
	symbols = map;
	functions = st.st_size / sizeof(*symbols);
	return 0;
}

static int open_counts(const char *path)
{
	size_t size = sizeof(*file) + (1 + SPANS_MAX) * columns() * sizeof(*file->rows);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	/* A sparse file: spans that never come take no room. */
	if (fd < 0 || ftruncate(fd, size))
		return refuse("the file of counts cannot be made");
	file = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (file == MAP_FAILED)
		return refuse("the file of counts cannot be mapped");
	memcpy(file->magic, MAGIC, sizeof(file->magic));
	file->functions = functions;
	return 0;
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
	const char *counts = NULL, *symbols_path = NULL;

	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "counts=", 7))
			counts = argv[i] + 7;
		else if (!strncmp(argv[i], "symbols=", 8))
			symbols_path = argv[i] + 8;
		else
			return refuse("an argument that it does not know");
	}
	if (!counts || !symbols_path)
		return refuse("counts= and symbols= are needed");
	if (open_symbols(symbols_path) || open_counts(counts))
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
