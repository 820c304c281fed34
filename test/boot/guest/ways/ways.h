/* SPDX-License-Identifier: MIT */
/*
 * Ways to change a file: one WAY() in each .c file, all linked into one
 * program, which runs the way whose name it was started by:
 *
 *   NAME SEED MS [ARG]
 *
 * in an empty folder of its own. A way ends with 0 if each call did what it was
 * meant to do; how the files came out is for verify to judge.
 */
#ifndef WAYS_H
#define WAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE 4096ul

struct way {
	const char *name;
	void (*run)(void);
};

/* The rows are gathered by the linker. */
#define WAY(name_) WAY_ROW(name_, __LINE__)
#define WAY_ROW(name_, line) WAY_ROW2(name_, line)
#define WAY_ROW2(name_, line) \
	static void way_##line(void); \
	static const struct way row_##line \
		__attribute__((used, section("ways"), aligned(8))) = { name_, way_##line }; \
	static void way_##line(void)

/* The call, or the end of the program with its text and errno. */
#define need(call) needed((long)(call), #call, __FILE__, __LINE__)
long needed(long result, const char *call, const char *file, int line);
#define must(condition) \
	do { if (!(condition)) failed(#condition, __FILE__, __LINE__); } while (0)
_Noreturn void failed(const char *what, const char *file, int line);

extern const char *way_arg;	/* ARG or NULL */
unsigned int below(unsigned int n);
void reseed(unsigned int salt);	/* for a child: its own numbers */
/* False once MS are over. */
bool going(void);
void pause_us(unsigned int us);

void fill(void *to, size_t len);
/* A new file with LEN random bytes, open for reading and writing. */
int make_file(const char *name, size_t len);
/* A shared, writable mapping of an open file. */
char *map_file(int fd, size_t len);
/* Stores at random places of the mapping as long as going(). */
void store_while_going(char *map, size_t len);

/* Runs fn(arg) in a child, which ends with status 0. */
pid_t spawn(void (*fn)(void *), void *arg);
/* Waits for a child, which must have ended with status 0, or by the signal. */
void reap(pid_t pid, int signal);
void pin_to_cpu(int cpu);
void write_text(const char *file, const char *text);
void send_fd(int socket, int fd);
int receive_fd(int socket);

#endif
