/* SPDX-License-Identifier: MIT */
#ifndef WAYS_DEVICES_H
#define WAYS_DEVICES_H

/* Puts a file under a free loop device, whose path is written to NAME (32 bytes). Returns the device. */
int loop_attach(const char *file, int open_flags, char *name);
void loop_detach(int device);
/* Runs a program of the image to its end, which must be good. */
void run(const char *const *argv);

#endif
