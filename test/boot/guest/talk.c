// SPDX-License-Identifier: MIT
/*
 * Says ARGV[1] to itself over the loopback, in every way that there is to tell
 * sockets by, and writes ARGV[2] into the file "heard": talk WORDS TEXT
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(struct sockaddr_in *to, const char *words)
{
	struct iovec part = { .iov_base = (void *)words, .iov_len = strlen(words) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)to, sizeof(*to)) < 0)
		err(1, "connect");
	/* Calls of sockets, and calls of any descriptor. */
	if (send(fd, words, strlen(words), 0) < 0 || sendmsg(fd, &message, 0) < 0 ||
	    write(fd, words, strlen(words)) < 0 || writev(fd, &part, 1) < 0)
		err(1, "saying it");
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(here);
	int door = socket(AF_INET, SOCK_STREAM, 0);
	char bytes[4096];
	size_t heard = 0;
	ssize_t n;
	int fd;

	if (argc != 3 || door < 0 || bind(door, (struct sockaddr *)&here, size) < 0 || listen(door, 1) < 0 ||
	    getsockname(door, (struct sockaddr *)&here, &size) < 0)
		err(1, "listening");
	if (fork() == 0) {
		say(&here, argv[1]);
		_exit(0);
	}
	fd = accept(door, NULL, NULL);
	while ((n = heard % 2 ? recv(fd, bytes, 1, 0) : read(fd, bytes, 1)) > 0)
		heard += n;
	wait(NULL);
	if (heard != 4 * strlen(argv[1]))
		errx(1, "%zu bytes were heard", heard);
	fd = open("heard", O_CREAT | O_WRONLY, 0644);
	if (fd < 0 || write(fd, argv[2], strlen(argv[2])) < 0)
		err(1, "heard");
}
