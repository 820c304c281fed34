// SPDX-License-Identifier: MIT
/* Paths and ids that mean something else to the program than to us. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ways.h"

/* Mounts made from here on are ours alone, and go with us. */
static void own_mounts(void)
{
	need(unshare(CLONE_NEWNS));
	need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

static void write_here(const char *name)
{
	int fd = make_file(name, 3000);

	need(fchmod(fd, 0604));
	need(close(fd));
	need(link(name, "linked"));
	need(unlink(name));
	need(mkdir("made", 0711));
}

WAY("mount-namespace")
{
	need(mkdir("hidden", 0755));
	need(mkdir("shown", 0755));
	own_mounts();
	need(mount("hidden", "shown", NULL, MS_BIND, NULL));
	need(chdir("shown"));
	write_here("by the other name");
	need(chdir(".."));
	need(umount("shown"));
	must(access("shown/made", F_OK) != 0 && access("hidden/made", F_OK) == 0);
}

/* Of a single file, and a read-only one of a folder that is writable elsewhere. */
WAY("bind-mounts")
{
	int fd;

	need(mkdir("d", 0755));
	need(mkdir("view", 0755));
	need(close(make_file("d/f", 500)));
	need(close(make_file("g", 10)));
	own_mounts();
	need(mount("d/f", "g", NULL, MS_BIND, NULL));
	fd = need(open("g", O_RDWR));
	must(pwrite(fd, "through g", 9, 700) == 9);
	need(close(fd));
	need(mount("d", "view", NULL, MS_BIND, NULL));
	need(mount(NULL, "view", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	must(open("view/f", O_RDWR) < 0);
	fd = need(open("d/f", O_RDWR | O_APPEND));
	must(write(fd, "end", 3) == 3);
}

WAY("chroot")
{
	need(mkdir("jail", 0755));
	need(chroot("jail"));
	need(chdir("/"));
	write_here("/in the jail");
}

WAY("pivot-root")
{
	need(mkdir("root", 0755));
	own_mounts();
	need(mount("root", "root", NULL, MS_BIND, NULL));
	need(mkdir("root/old", 0755));
	need(chdir("root"));
	need(syscall(SYS_pivot_root, ".", "old"));
	need(chdir("/"));
	write_here("/at the new root");
	need(umount2("/old", MNT_DETACH));
	need(close(make_file("/only this is left", 100)));
}

static void write_and_say(void *arg)
{
	(void)arg;
	/* 1 to itself. */
	must(getpid() == 1);
	write_here("by process 1");
}

WAY("pid-namespace")
{
	need(unshare(CLONE_NEWPID));
	reap(spawn(write_and_say, NULL), 0);
}

/* Its root is our user 1000. */
WAY("user-namespace")
{
	need(chmod(".", 0777));
	need(setegid(1000));
	need(seteuid(1000));
	/* Else his files in /proc are root's. */
	need(prctl(PR_SET_DUMPABLE, 1));
	need(unshare(CLONE_NEWUSER));
	write_text("/proc/self/setgroups", "deny");
	write_text("/proc/self/gid_map", "0 1000 1");
	write_text("/proc/self/uid_map", "0 1000 1");
	must(geteuid() == 0);
	write_here("by root of a kind");
	need(unshare(CLONE_NEWNS));
	need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	need(mount("tmpfs", "made", "tmpfs", 0, NULL));
	need(close(make_file("made/seen by nobody", 100)));
}

/* The traced file system once more, elsewhere; ARG is its disk. */
WAY("second-mount")
{
	char here[128], there[160];

	must(getcwd(here, sizeof(here)) != NULL);
	snprintf(there, sizeof(there), "/mnt%s", here);
	need(mount(way_arg, "/mnt", "ext4", 0, NULL));
	need(chdir(there));
	write_here("in the second mount");
	need(chdir(here));
	must(access("made", F_OK) == 0);
	need(umount("/mnt"));
}

/* Times that the disk gets later, or at each look. */
WAY("remount")
{
	static const unsigned long flags[] = { MS_LAZYTIME, MS_STRICTATIME, MS_NOATIME, MS_SYNCHRONOUS, MS_RELATIME };
	int fd = make_file("f", 3000);
	char byte;

	for (int i = 0; i < 5; i++) {
		need(mount(NULL, "/", NULL, MS_REMOUNT | flags[i], NULL));
		for (int j = 0; j < 10; j++) {
			must(pread(fd, &byte, 1, j) == 1);
			must(pwrite(fd, &byte, 1, 100 * j) == 1);
			pause_us(5000);
			must(pread(fd, &byte, 1, j) == 1);
		}
	}
}

static void hold_namespace(void *arg)
{
	int ready = *(int *)arg;

	need(unshare(CLONE_NEWUSER));
	must(write(ready, "x", 1) == 1);
	for (;;)
		pause();
}

/* Through a mount that shows the owners of the disk as others. */
WAY("idmapped-mount")
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP };
	char name[64], byte;
	int ready[2], tree;
	struct stat st;
	pid_t pid;

	need(mkdir("d", 0777));
	need(mkdir("view", 0755));
	need(pipe(ready));
	pid = spawn(hold_namespace, &ready[1]);
	must(read(ready[0], &byte, 1) == 1);
	snprintf(name, sizeof(name), "/proc/%d/uid_map", pid);
	write_text(name, "5000 0 1000");
	snprintf(name, sizeof(name), "/proc/%d/gid_map", pid);
	write_text(name, "5000 0 1000");
	snprintf(name, sizeof(name), "/proc/%d/ns/user", pid);
	attr.userns_fd = need(open(name, O_RDONLY));
	own_mounts();
	need(chown("d", 5000, 5000));
	tree = need(syscall(SYS_open_tree, AT_FDCWD, "d", OPEN_TREE_CLONE));
	need(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)));
	need(syscall(SYS_move_mount, tree, "", AT_FDCWD, "view", MOVE_MOUNT_F_EMPTY_PATH));
	need(chdir("view"));
	write_here("shown as root's");
	need(stat("../d/made", &st));
	must(st.st_uid == 5000);
	need(kill(pid, SIGKILL));
	reap(pid, SIGKILL);
}
