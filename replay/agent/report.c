// SPDX-License-Identifier: MIT
/* What lemona-replay tells the host: one JSON object a line. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "replay.h"

/* The result line holds this many; the counts are complete. */
#define LIST_MAX 16
#define TEXT_MAX 600

static char first_mismatches[LIST_MAX][TEXT_MAX];
static char taints[LIST_MAX][TEXT_MAX];
static uint64_t taint_count;
static const struct lemona_effect *context;

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

const char *op_name(unsigned int op)
{
	static const char * const names[] = {
		[LEMONA_OP_WRITE] = "WRITE", [LEMONA_OP_PAGE] = "PAGE",
		[LEMONA_OP_SETATTR] = "SETATTR", [LEMONA_OP_CREATE] = "CREATE",
		[LEMONA_OP_MKNOD] = "MKNOD", [LEMONA_OP_MKDIR] = "MKDIR",
		[LEMONA_OP_SYMLINK] = "SYMLINK", [LEMONA_OP_TMPFILE] = "TMPFILE",
		[LEMONA_OP_LINK] = "LINK", [LEMONA_OP_UNLINK] = "UNLINK",
		[LEMONA_OP_RMDIR] = "RMDIR", [LEMONA_OP_RENAME] = "RENAME",
		[LEMONA_OP_FALLOCATE] = "FALLOCATE", [LEMONA_OP_XATTR] = "XATTR",
		[LEMONA_OP_GONE] = "GONE", [LEMONA_OP_MOUNT] = "MOUNT",
		[LEMONA_OP_UMOUNT] = "UMOUNT", [LEMONA_OP_MARK] = "MARK",
		[LEMONA_OP_NOP] = "NOP", [LEMONA_OP_TAINT] = "TAINT",
		[LEMONA_OP_START] = "START",
	};

	return op < sizeof(names) / sizeof(*names) && names[op] ? names[op] : "UNKNOWN";
}

/* Writes a whole line; the host is gone if that fails, and nobody listens. */
static void write_line(const char *line, int len)
{
	int done = 0;

	while (done < len) {
		ssize_t n = write(rp.out, line + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += n;
	}
}

void say(const char *format, ...)
{
	char *line;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&line, format, args);
	va_end(args);
	if (len < 0)
		return;
	write_line(line, len);
	free(line);
}

/* JSON string with its quotes; bytes outside printable ASCII become \u00xx. */
void json_string(char *to, size_t room, const char *text, size_t len)
{
	size_t at = 0, i;

	to[at++] = '"';
	for (i = 0; i < len && at + 8 < room; i++) {
		unsigned char c = text[i];

		if (c == '"' || c == '\\') {
			to[at++] = '\\';
			to[at++] = c;
		} else if (c < 0x20 || c > 0x7e) {
			at += sprintf(to + at, "\\u%04x", c);
		} else {
			to[at++] = c;
		}
	}
	to[at++] = '"';
	to[at] = 0;
}

void fatal(const char *format, ...)
{
	char text[400], quoted[900], line[1000];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_string(quoted, sizeof(quoted), text, strlen(text));
	/* There may be no memory left. */
	write_line(line, snprintf(line, sizeof(line), "{\"t\":\"fatal\",\"seq\":\"%" PRIu64 "\",\"text\":%s}\n",
				  rp.last_seq, quoted));
	dprintf(2, "lemona-replay: %s\n", text);
	leave(1);
}

void report_ready(void)
{
	say("{\"t\":\"ready\",\"settimes\":%s}\n", rp.lemona >= 0 ? "true" : "false");
}

void report_progress(void)
{
	say("{\"t\":\"progress\",\"seq\":\"%" PRIu64 "\",\"applied\":\"%" PRIu64
	    "\",\"bytes\":\"%" PRIu64 "\"}\n", rp.last_seq, rp.applied, rp.bytes);
}

void report_taint(const struct lemona_taint *t)
{
	char quoted[400];

	if (taint_count < LIST_MAX) {
		json_string(quoted, sizeof(quoted), (const char *)(t + 1), t->text_len);
		snprintf(taints[taint_count], TEXT_MAX,
			 "{\"seq\":\"%" PRIu64 "\",\"reason\":%u,\"text\":%s}",
			 (uint64_t)t->e.seq, t->reason, quoted);
	}
	taint_count++;
}

static void list(char *to, size_t room, char from[][TEXT_MAX], uint64_t count)
{
	size_t at = 0;
	uint64_t i;

	*to = 0;
	for (i = 0; i < count && i < LIST_MAX; i++)
		at += snprintf(to + at, room - at, "%s%s", i ? "," : "", from[i]);
}

/* What speaks against the rebuild up to here: the same fields of both answers. */
static const char *findings(void)
{
	static char wrong[LIST_MAX * TEXT_MAX + LIST_MAX], tainted[sizeof(wrong)];
	static char text[sizeof(wrong) + sizeof(tainted) + 120];

	list(wrong, sizeof(wrong), first_mismatches, rp.mismatches);
	list(tainted, sizeof(tainted), taints, taint_count);
	snprintf(text, sizeof(text),
		 "\"mismatches\":\"%" PRIu64 "\",\"first\":[%s],\"taintCount\":\"%" PRIu64
		 "\",\"taints\":[%s]", rp.mismatches, wrong, taint_count, tainted);
	return text;
}

void report_stopped(uint64_t id)
{
	doubt_report();
	say("{\"t\":\"stopped\",\"id\":\"%" PRIu64 "\",\"seq\":\"%" PRIu64
	    "\",\"applied\":\"%" PRIu64 "\",%s}\n",
	    id, rp.last_seq, rp.applied, findings());
}

void report_result(const char *outcome)
{
	doubt_report();
	say("{\"t\":\"result\",\"outcome\":\"%s\",\"seq\":\"%" PRIu64
	    "\",\"received\":\"%" PRIu64 "\",\"applied\":\"%" PRIu64
	    "\",\"skipped\":\"%" PRIu64 "\",\"unreachable\":\"%" PRIu64
	    "\",\"heldBack\":\"%" PRIu64 "\",\"adrift\":\"%" PRIu64
	    "\",\"explained\":\"%" PRIu64 "\",\"bytes\":\"%" PRIu64
	    "\",\"inodesFinished\":\"%" PRIu64 "\",\"applyNs\":\"%" PRIu64
	    "\",\"finalNs\":\"%" PRIu64 "\",%s}\n",
	    outcome, rp.last_seq, rp.received, rp.applied, rp.skipped, rp.unreachable,
	    rp.held_back, rp.adrift, rp.explained, rp.bytes, rp.finished, rp.apply_ns, rp.final_ns,
	    findings());
}

/* The effect that is being applied; NULL in the final pass. Returns the one before. */
const struct lemona_effect *mismatch_context(const struct lemona_effect *e)
{
	const struct lemona_effect *before = context;

	context = e;
	return before;
}

void mismatch(struct object *o, const char *what, const char *wanted,
	      const char *seen, int error)
{
	char text[TEXT_MAX], name[160], a[160], b[160];

	if (rp.doubts && doubt_explains(o, context, what)) {
		rp.explained++;
		return;
	}
	json_string(name, sizeof(name), what, strlen(what));
	json_string(a, sizeof(a), wanted, strlen(wanted));
	json_string(b, sizeof(b), seen, strlen(seen));
	snprintf(text, sizeof(text),
		 "{\"seq\":\"%" PRIu64 "\",\"op\":\"%s\",\"ino\":\"%" PRIu64
		 "\",\"gen\":%u,\"what\":%s,\"wanted\":%s,\"seen\":%s,\"errno\":%d}",
		 context ? (uint64_t)context->seq : rp.last_seq,
		 context ? op_name(context->h.code) : "final",
		 o ? (uint64_t)o->attr.ino : context ? (uint64_t)context->ino : 0,
		 o ? o->attr.gen : context ? context->gen : 0, name, a, b, error);
	if (rp.mismatches < LIST_MAX)
		strcpy(first_mismatches[rp.mismatches], text);
	rp.mismatches++;
	if (rp.go_on)
		return;
	say("{\"t\":\"mismatch\",\"mismatch\":%s}\n", text);
	report_result("diverged");
	leave(1);
}

void mismatch_number(struct object *o, const char *what, uint64_t wanted,
		     uint64_t seen)
{
	char a[32], b[32];

	snprintf(a, sizeof(a), "%" PRIu64, wanted);
	snprintf(b, sizeof(b), "%" PRIu64, seen);
	mismatch(o, what, a, b, 0);
}

void failed(struct object *o, const char *what)
{
	int error = errno;

	mismatch(o, what, "success", strerror(error), error);
}
