/* SPDX-License-Identifier: MIT */
/*
 * Cases that make files as they really are. Each works in an empty folder of
 * its own, checks what the kernel answers, and leaves its files behind: the
 * comparison with the rebuilt disk is the test.
 */
#ifndef LEMONA_TEST_FILES_H
#define LEMONA_TEST_FILES_H

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

#define PAGE 4096
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Ends the case when the call fails. */
#define must(call) check((call), __FILE__, __LINE__, #call)

/* Ends the case unless the call fails with that error. */
#define refused(call, error) check_refused((call), (error), __FILE__, __LINE__, #call)

/* Ends the case unless it holds. */
#define holds(condition) check((condition) ? 0 : (errno = 0, -1), __FILE__, __LINE__, #condition)

long check(long result, const char *file, int line, const char *call);
void check_refused(long result, int error, const char *file, int line, const char *call);

/* Makes a file of @len bytes, all @fill, and returns it open. */
int make_file(const char *name, size_t len, int fill);

/* Writes all of it at @pos. */
void put_at(int fd, const void *data, size_t len, off_t pos);

/* @len bytes that depend on @seed and on their place only. */
void pattern(void *to, size_t len, unsigned int seed);

/* FS_IOC_SETFLAGS, on a file or folder. */
int set_flags(const char *name, int flags);
int get_flags(const char *name);

/* One case each; the table in main.c names them. */
void case_bytes(void);
void case_deep(void);
void case_huge(void);
void case_links(void);
void case_symlinks(void);
void case_nodes(void);
void case_renames(void);
void case_whiteouts(void);
void case_holes(void);
void case_fallocate(void);
void case_anonymous(void);
void case_held(void);
void case_released(void);
void case_faults(void);
void case_too_big(void);
void case_tails(void);
void case_blocks(void);
void case_small(void);
void case_small_mapped(void);
void case_full(void);
void case_full_mapped(void);
void case_full_names(void);
void case_full_strays(void);
void case_full_acl(void);
void case_held_times(void);
void case_held_names(void);
void case_own_driver(void);
void case_forced_read_only(void);
void case_terminal(void);
void case_rejected(void);
void case_lost_writeback(void);
void case_cut_owners(void);
void case_cut_inodes(void);
void case_xattrs(void);
void case_big_xattrs(void);
void case_acls(void);
void case_capabilities(void);
void case_flags(void);
void case_half_flags(void);
void case_projects(void);
void case_quota(void);
void case_setids(void);
void case_times(void);
void case_io_errors(void);
void case_io_errors_direct(void);
void case_io_errors_sync(void);
void case_io_errors_unasked(void);
void case_journal_stop(void);
void case_journal_abort(void);

#endif /* LEMONA_TEST_FILES_H */
