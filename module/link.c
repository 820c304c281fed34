// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A connection to a logging server: the opening, and frames both ways, plain or
 * encrypted. docs/wire.md says what is on the wire.
 *
 * Sending must never wait for memory that only writers who wait for us could
 * free: sockets allocate with GFP_NOIO, and all of the thread does.
 */
#include <crypto/algapi.h>
#include <linux/pkt_sched.h>
#include <linux/slab.h>
#include <linux/tcp.h>
#include <linux/unaligned.h>
#include <net/ip.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "lemona.h"
#include "link.h"

/* Class selector 6 of DSCP: network control */
#define TOS_CS6		0xc0
/* For each step of the opening */
#define OPENING_WAIT	(5 * HZ)

int lemona_link_init(struct lemona_link *link, u32 frame_max)
{
	link->frame_max = frame_max;
	link->out = kvmalloc(LEMONA_MESSAGE_MAX, GFP_KERNEL);
	link->in = kvmalloc(LEMONA_MESSAGE_MAX, GFP_KERNEL);
	link->frame = kvmalloc(frame_max, GFP_KERNEL);
	if (link->out && link->in && link->frame)
		return 0;
	lemona_link_exit(link);
	return -ENOMEM;
}

void lemona_link_exit(struct lemona_link *link)
{
	kvfree(link->out);
	kvfree(link->in);
	kvfree(link->frame);
	link->out = NULL;
	link->in = NULL;
	link->frame = NULL;
}

static int send_all(struct lemona_link *link, const void *data, size_t len)
{
	struct kvec part = { (void *)data, len };
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };
	int ret = kernel_sendmsg(link->sock, &msg, &part, 1, len);

	if (ret < 0)
		return ret;
	return ret == len ? 0 : -ETIMEDOUT;
}

static int receive_all(struct lemona_link *link, void *data, size_t len)
{
	struct kvec part = { data, len };
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };
	int ret = kernel_recvmsg(link->sock, &msg, &part, 1, len, MSG_WAITALL);

	if (ret == -EAGAIN)
		return -ETIMEDOUT;
	if (ret < 0)
		return ret;
	return ret == len ? 0 : -ECONNRESET;
}

static int connect_to(struct lemona_link *link,
		      const struct sockaddr_storage *address)
{
	struct sock *sk;
	int error;

	error = sock_create_kern(&init_net, address->ss_family, SOCK_STREAM,
				 IPPROTO_TCP, &link->sock);
	if (error)
		return error;
	sk = link->sock->sk;
	sk->sk_allocation = GFP_NOIO;
	sk->sk_use_task_frag = false;
	sk->sk_sndtimeo = OPENING_WAIT;
	sk->sk_rcvtimeo = OPENING_WAIT;
	tcp_sock_set_nodelay(sk);
	/* the record goes before the machine's other traffic */
	if (address->ss_family == AF_INET)
		ip_sock_set_tos(sk, TOS_CS6);
	sock_set_priority(sk, lemona_priority);
	sock_set_mark(sk, lemona_mark);
	error = kernel_connect(link->sock, (struct sockaddr *)address,
			       sizeof(*address), 0);
	return error == -EINPROGRESS ? -ETIMEDOUT : error;
}

/**
 * lemona_status_error - what a server says, as an error
 * @status: LEMONA_WIRE_*
 */
int lemona_status_error(u32 status)
{
	switch (status) {
	case LEMONA_WIRE_OK:
		return 0;
	case LEMONA_WIRE_UNKNOWN_MACHINE:
		return -ENOKEY;
	case LEMONA_WIRE_BAD_KEY:
		return -EKEYREJECTED;
	case LEMONA_WIRE_TAMPERED:
		return -EBADMSG;
	case LEMONA_WIRE_BUSY:
		return -EBUSY;
	case LEMONA_WIRE_DISK_FULL:
		return -ENOSPC;
	case LEMONA_WIRE_ENDED:
		return -ESHUTDOWN;
	case LEMONA_WIRE_FAILED:
		return -EREMOTEIO;
	}
	return -EPROTO;
}

/* Show that we have the key; learn how the server is to show it */
static int prove(struct lemona_link *link,
		 const struct lemona_wire_hello *hello,
		 const struct lemona_wire_challenge *challenge, const u8 *key)
{
	struct kvec parts[] = {
		{ "lemona plain driver", 19 },
		{ (void *)hello, sizeof(*hello) },
		{ (void *)challenge, sizeof(*challenge) },
	};
	u8 message[LEMONA_HANDSHAKE_SIZE], secret[CURVE25519_KEY_SIZE];
	struct lemona_handshake hs;
	int error;

	if (!link->noise) {
		lemona_hmac(link->proof, key, parts, ARRAY_SIZE(parts));
		error = send_all(link, link->proof, sizeof(link->proof));
		parts[0].iov_base = "lemona plain server";
		lemona_hmac(link->proof, key, parts, ARRAY_SIZE(parts));
		return error;
	}

	memset(link->proof, 0, sizeof(link->proof));
	curve25519_generate_secret(secret);
	error = lemona_handshake_begin(&hs, parts + 1, 2, key, secret, NULL, 0,
				       message) ?:
		send_all(link, message, sizeof(message)) ?:
		receive_all(link, message, sizeof(message)) ?:
		lemona_handshake_end(&hs, message, sizeof(message), NULL,
				     &link->send, &link->receive);
	memzero_explicit(secret, sizeof(secret));
	memzero_explicit(&hs, sizeof(hs));
	/* who does not know our key hangs up, or answers nonsense */
	return error == -ECONNRESET || error == -EBADMSG ? -EKEYREJECTED :
							   error;
}

/**
 * lemona_link_open - connect, and agree on keys
 * @link: closed
 * @address: of the server
 * @hello: what is said first
 * @key: of the machine
 *
 * Return: 0, or an error; the link must be closed either way.
 */
int lemona_link_open(struct lemona_link *link,
		     const struct sockaddr_storage *address,
		     const struct lemona_wire_hello *hello,
		     const u8 key[LEMONA_KEY_SIZE])
{
	struct lemona_wire_challenge challenge;
	int error;

	link->noise = hello->mode == LEMONA_WIRE_NOISE;
	link->out_len = 0;
	link->out_done = 0;
	link->out_sealed = false;
	link->in_len = 0;
	link->frame_len = 0;
	error = connect_to(link, address) ?:
		send_all(link, hello, sizeof(*hello)) ?:
		receive_all(link, &challenge, sizeof(challenge));
	if (error)
		return error;
	if (memcmp(challenge.magic, LEMONA_WIRE_MAGIC,
		   sizeof(challenge.magic)) ||
	    challenge.version != LEMONA_WIRE_VERSION)
		return -EPROTO;
	return lemona_status_error(challenge.status) ?:
	       prove(link, hello, &challenge, key);
}

void lemona_link_close(struct lemona_link *link)
{
	if (link->sock)
		sock_release(link->sock);
	link->sock = NULL;
	memzero_explicit(&link->send, sizeof(link->send));
	memzero_explicit(&link->receive, sizeof(link->receive));
}

/**
 * lemona_link_put - add bytes to what is sent next
 * @link: it
 * @data: the bytes
 * @len: how many
 *
 * Return: how many found room; 0 until lemona_link_flush() has sent some.
 */
u32 lemona_link_put(struct lemona_link *link, const void *data, u32 len)
{
	u32 max = LEMONA_MESSAGE_MAX;

	if (link->out_sealed)
		return 0;
	if (link->noise) {
		max -= LEMONA_WIRE_NOISE_TAG;
		if (!link->out_len)
			link->out_len = 2;
	}
	len = min(len, max - link->out_len);
	memcpy(link->out + link->out_len, data, len);
	link->out_len += len;
	return len;
}

/* Make what was put a message that can be sent */
void lemona_link_seal(struct lemona_link *link)
{
	if (link->out_sealed || !link->out_len)
		return;
	link->out_sealed = true;
	if (!link->noise)
		return;
	lemona_encrypt(&link->send, link->out + 2, link->out + 2,
		       link->out_len - 2);
	link->out_len += LEMONA_WIRE_NOISE_TAG;
	put_unaligned_le16(link->out_len - 2, link->out);
}

/**
 * lemona_link_flush - send what was put, as far as it goes without waiting
 *
 * Return: bytes sent, or an error; -EAGAIN is none.
 */
int lemona_link_flush(struct lemona_link *link)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT };
	struct kvec part;
	int ret;

	lemona_link_seal(link);
	if (!link->out_sealed)
		return 0;
	part.iov_base = link->out + link->out_done;
	part.iov_len = link->out_len - link->out_done;
	ret = kernel_sendmsg(link->sock, &msg, &part, 1, part.iov_len);
	if (ret < 0)
		return ret == -EAGAIN ? 0 : ret;
	link->out_done += ret;
	if (link->out_done == link->out_len) {
		link->out_len = 0;
		link->out_done = 0;
		link->out_sealed = false;
	}
	return ret;
}

static int take_frames(struct lemona_link *link, const u8 *data, u32 len,
		       lemona_frame_fn fn, void *arg)
{
	const struct lemona_wire_frame *frame = (void *)link->frame;
	int error;
	u32 want;

	while (len) {
		want = sizeof(*frame);
		if (link->frame_len >= want)
			want += frame->length;
		want = min(want - link->frame_len, len);
		memcpy(link->frame + link->frame_len, data, want);
		link->frame_len += want;
		data += want;
		len -= want;
		if (link->frame_len < sizeof(*frame))
			return 0;
		if (frame->length % 8 ||
		    frame->length > link->frame_max - sizeof(*frame))
			return -EPROTO;
		if (link->frame_len < sizeof(*frame) + frame->length)
			continue;
		link->frame_len = 0;
		error = fn(arg, frame->type, frame + 1, frame->length);
		if (error)
			return error;
	}
	return 0;
}

/* The whole message that was received, or nothing yet */
static int take_message(struct lemona_link *link, lemona_frame_fn fn, void *arg)
{
	u32 len = link->in_len;

	if (!link->noise) {
		link->in_len = 0;
		return take_frames(link, link->in, len, fn, arg);
	}
	if (len < 2 || len < 2 + get_unaligned_le16(link->in))
		return 0;
	link->in_len = 0;
	if (!lemona_decrypt(&link->receive, link->in + 2, link->in + 2,
			    len - 2))
		return -EBADMSG;
	return take_frames(link, link->in + 2,
			   len - 2 - LEMONA_WIRE_NOISE_TAG, fn, arg);
}

/* Bytes that may be read without reading into the next message */
static u32 wanted(const struct lemona_link *link)
{
	if (!link->noise)
		return LEMONA_MESSAGE_MAX;
	if (link->in_len < 2)
		return 2 - link->in_len;
	return 2 + get_unaligned_le16(link->in) - link->in_len;
}

/**
 * lemona_link_receive - receive what is there, without waiting
 * @link: it
 * @fn: called for each frame
 * @arg: for @fn
 *
 * Return: bytes received, or an error: also of @fn; -ECONNRESET when the server
 * has hung up.
 */
int lemona_link_receive(struct lemona_link *link, lemona_frame_fn fn, void *arg)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };
	struct kvec part = {
		.iov_base = link->in + link->in_len,
		.iov_len = wanted(link),
	};
	int error;
	int ret;

	ret = kernel_recvmsg(link->sock, &msg, &part, 1, part.iov_len,
			     MSG_DONTWAIT);
	if (ret == -EAGAIN)
		return 0;
	if (ret <= 0)
		return ret ?: -ECONNRESET;
	link->in_len += ret;
	error = take_message(link, fn, arg);
	return error ?: ret;
}
