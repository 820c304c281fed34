/* SPDX-License-Identifier: MIT */
/* What the parts of lemona-manifest share. */
#ifndef LEMONA_VERIFY_MANIFEST_H
#define LEMONA_VERIFY_MANIFEST_H

#include <stdbool.h>
#include <ext2fs/ext2fs.h>

#include "text.h"

extern ext2_filsys fs;
/* The same image, to read blocks from. */
extern int raw;
/* Of the name that is being printed; empty for the root. */
extern struct text path;
/* That is being made. */
extern struct text line;

/* Ends the program: something of the current path can't be read. */
void corrupt(const char *doing, errcode_t error) __attribute__((noreturn));

/* manifest.c: prints one name; returns whether it is a directory. */
bool print_name(ext2_ino_t ino);

/* walk.c: prints all names below the root. */
void walk(void);

/* content.c: bytes hashed so far. */
extern unsigned long long content_bytes;
void put_content(ext2_ino_t ino, struct ext2_inode *inode);
void put_target(ext2_ino_t ino, struct ext2_inode *inode);

/* xattrs.c */
void put_xattrs(ext2_ino_t ino);

#endif /* LEMONA_VERIFY_MANIFEST_H */
