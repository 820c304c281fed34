// SPDX-License-Identifier: MIT
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "port.h"

#define PORTS "/sys/class/virtio-ports"

static int read_line(const char *port, const char *attribute, char *text, size_t len)
{
	char path[512];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), PORTS "/%s/%s", port, attribute);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, len - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return 0;
}

int port_find(const char *name, dev_t *dev, char *node, size_t node_len)
{
	struct dirent *entry;
	int found = -1;
	DIR *ports;

	ports = opendir(PORTS);
	if (!ports)
		return -1;
	while (found && (entry = readdir(ports))) {
		unsigned int major, minor;
		char text[128];

		if (entry->d_name[0] == '.')
			continue;
		if (read_line(entry->d_name, "name", text, sizeof(text)) || strcmp(text, name))
			continue;
		if (read_line(entry->d_name, "dev", text, sizeof(text)) ||
		    sscanf(text, "%u:%u", &major, &minor) != 2)
			continue;
		*dev = makedev(major, minor);
		if (node)
			snprintf(node, node_len, "/dev/%.*s", 200, entry->d_name);
		found = 0;
	}
	closedir(ports);
	if (found)
		errno = ENOENT;
	return found;
}

int port_open(const char *name, int flags)
{
	char node[256];
	dev_t dev;

	if (port_find(name, &dev, node, sizeof(node)))
		return -1;
	return open(node, flags | O_CLOEXEC);
}
