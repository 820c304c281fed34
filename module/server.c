// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Logging servers: sinks at the other end of a TCP connection. Each has a
 * thread that connects, sends, and connects again when the link breaks. A
 * sub-buffer is released when the server says that it is on its disk, so
 * nothing is lost or doubled whichever side fails.
 */
#include <crypto/utils.h>
#include <linux/completion.h>
#include <linux/inet.h>
#include <linux/kthread.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/utsname.h>
#include <linux/vmalloc.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "lemona.h"
#include "link.h"
#include "part.h"
#include "pool.h"

#define SERVERS_MAX	4
#define RETRY_MIN	(HZ / 10)
#define RETRY_MAX	(5 * HZ)
#define HEARTBEAT	msecs_to_jiffies(LEMONA_WIRE_HEARTBEAT_MS)
#define SILENCE		msecs_to_jiffies(LEMONA_WIRE_SILENCE_MS)
#define FAREWELL	(4 * SILENCE)

/**
 * struct lemona_server - a server
 * @sink: what it is to have
 * @name: address, port and category, as they were given
 * @address: the first two
 * @category: LEMONA_CATEGORY_* of what it gets, or 0: everything
 * @made: room for a sub-buffer's part of that
 * @thread: of the connection
 * @wait: entry in the socket's wait queue
 * @kicked: there may be something to do
 * @ending: no more will come: say so when all is sent
 * @done: the server has closed the record, or there is nobody to tell
 * @link: the connection
 * @ready: the server has shown that it has the key
 * @part: what is being sent: a frame's header, its content
 * @parts: of them, how many are left
 * @sending: the sub-buffer that is its content, or NULL
 * @header: of that frame
 * @content: of that frame, if it is not a sub-buffer
 * @next: of each CPU, the number after the last that was sent
 * @sent: the sub-buffers that were closed before so many
 * @end_sent: and so is the frame END
 * @shut: nothing more can be sent
 * @closed: the server takes nothing more of this boot
 * @heard: when the server was heard
 * @beaten: when our last heartbeat was sent
 * @tried: the key that was tried last, by its number
 * @connects: how often it was tried
 * @refusals: of those, not authentic
 * @reported: the last error that was printed
 * @status: what the server said of itself
 */
struct lemona_server {
	struct lemona_sink sink;
	const char *name;
	struct sockaddr_storage address;
	u32 category;
	struct lemona_subbuf *made;
	struct task_struct *thread;
	wait_queue_entry_t wait;
	bool kicked;
	bool ending;
	struct completion done;
	struct lemona_link link;
	bool ready;
	struct kvec part[2];
	unsigned int parts;
	struct lemona_sub *sending;
	struct lemona_wire_frame header;
	void *content;
	u64 *next;
	u64 sent;
	bool end_sent;
	bool shut;
	bool closed;
	unsigned long heard;
	unsigned long beaten;
	unsigned int tried;
	u64 connects;
	u64 refusals;
	int reported;
	u32 status;
};

static struct lemona_server servers[SERVERS_MAX];
static unsigned int nr_servers;

static struct {
	struct mutex lock;	/* protects the next three */
	u8 key[LEMONA_KEY_SIZE];
	unsigned int number;	/* of keys that were given */
	bool accepted;		/* by a server */
} machine_key = { .lock = __MUTEX_INITIALIZER(machine_key.lock) };

static void kick(struct lemona_server *s)
{
	struct task_struct *thread = READ_ONCE(s->thread);

	WRITE_ONCE(s->kicked, true);
	if (thread)
		wake_up_process(thread);
}

static void kick_sink(struct lemona_sink *sink)
{
	kick(container_of(sink, struct lemona_server, sink));
}

/* Each CPU's record goes to lemona_copies servers, those of the next CPU begin one further */
static bool wants(const struct lemona_sink *sink, u32 cpu)
{
	const struct lemona_server *s =
		container_of_const(sink, struct lemona_server, sink);
	unsigned int place = s - servers + nr_servers - cpu % nr_servers;

	return !lemona_copies || place % nr_servers < lemona_copies;
}

static int kick_socket(wait_queue_entry_t *wait, unsigned int mode, int sync,
		       void *key)
{
	kick(container_of(wait, struct lemona_server, wait));
	return 1;
}

/* Sleep until there may be something to do */
static void rest(struct lemona_server *s, long timeout)
{
	set_current_state(TASK_IDLE);
	if (!xchg(&s->kicked, false) && !kthread_should_stop())
		schedule_timeout(timeout);
	__set_current_state(TASK_RUNNING);
}

/**
 * lemona_set_key - give the machine its key
 * @key: it
 *
 * Return: 0, or -EBUSY if a server has accepted the one that is there.
 */
int lemona_set_key(const struct lemona_key *key)
{
	unsigned int i;
	int error = 0;

	mutex_lock(&machine_key.lock);
	if (machine_key.accepted) {
		error = -EBUSY;
	} else {
		memcpy(machine_key.key, key->key, sizeof(machine_key.key));
		WRITE_ONCE(machine_key.number, machine_key.number + 1);
	}
	mutex_unlock(&machine_key.lock);
	for (i = 0; !error && i < nr_servers; i++)
		kick(&servers[i]);
	return error;
}

/* Return: its number. */
static unsigned int get_key(u8 key[LEMONA_KEY_SIZE])
{
	unsigned int number;

	mutex_lock(&machine_key.lock);
	number = machine_key.number;
	memcpy(key, machine_key.key, LEMONA_KEY_SIZE);
	mutex_unlock(&machine_key.lock);
	return number;
}

/* Sleep until there is a key that was not tried, or for so long */
static void await_key(struct lemona_server *s, unsigned long timeout)
{
	unsigned long end = jiffies + timeout;
	long left;

	while (!kthread_should_stop() &&
	       READ_ONCE(machine_key.number) == s->tried &&
	       (left = end - jiffies) > 0)
		rest(s, left);
}

/* The server has these: release them */
static int take_streams(struct lemona_server *s,
			const struct lemona_wire_stream *stream, u32 len)
{
	u32 i;

	if (len % sizeof(*stream))
		return -EPROTO;
	for (i = 0; i < len / sizeof(*stream); i++) {
		u32 cpu = stream[i].cpu;

		/* of this boot, but of a life that this machine does not remember */
		if (cpu >= nr_cpu_ids || stream[i].next > lemona_pool_made(cpu))
			return s->ready ? -EPROTO : -ESTALE;
	}
	for (i = 0; i < len / sizeof(*stream); i++)
		lemona_sink_release_stream(&s->sink, stream[i].cpu,
					   stream[i].next,
					   s->ready ? s->sent : U64_MAX);
	return 0;
}

static int take_ready(struct lemona_server *s, const void *data, u32 len)
{
	int error;

	if (s->ready || len < LEMONA_HASH_SIZE)
		return -EPROTO;
	if (crypto_memneq(data, s->link.proof, LEMONA_HASH_SIZE))
		return -EKEYREJECTED;
	lemona_sink_rewind(&s->sink);
	error = take_streams(s, data + LEMONA_HASH_SIZE,
			     len - LEMONA_HASH_SIZE);
	if (error)
		return error;
	s->ready = true;
	mutex_lock(&machine_key.lock);
	machine_key.accepted = true;
	mutex_unlock(&machine_key.lock);
	lemona_sink_attach(&s->sink, true);
	pr_info("lemona: server %s: connected\n", s->name);
	s->reported = 0;
	return 0;
}

static int take_status(struct lemona_server *s,
		       const struct lemona_wire_status *status, u32 len)
{
	if (len != sizeof(*status))
		return -EPROTO;
	if (status->status == LEMONA_WIRE_DISK_FULL &&
	    s->status != LEMONA_WIRE_DISK_FULL)
		pr_warn("lemona: server %s: its disk is full\n", s->name);
	s->status = status->status;
	return 0;
}

static int take_frame(void *arg, u16 type, const void *data, u32 len)
{
	struct lemona_server *s = arg;

	if (type == LEMONA_WIRE_REFUSED && len == 8) {
		s->closed = *(const u32 *)data == LEMONA_WIRE_ENDED;
		return lemona_status_error(*(const u32 *)data) ?: -EPROTO;
	}
	if (type == LEMONA_WIRE_READY)
		return take_ready(s, data, len);
	if (!s->ready)
		return -EPROTO;
	switch (type) {
	case LEMONA_WIRE_CLOSED:
		s->closed = s->end_sent;
		return s->closed ? -ESHUTDOWN : -EPROTO;
	case LEMONA_WIRE_ACK:
		return take_streams(s, data, len);
	case LEMONA_WIRE_HEARTBEAT:
		return take_status(s, data, len);
	}
	return -EPROTO;
}

static void start_frame(struct lemona_server *s, u16 type, void *data, u32 len)
{
	s->header = (struct lemona_wire_frame){ .length = len, .type = type };
	s->part[0] = (struct kvec){ data, len };
	s->part[1] = (struct kvec){ &s->header, sizeof(s->header) };
	s->parts = 2;
}

static void start_heartbeat(struct lemona_server *s)
{
	struct lemona_wire_status *status = s->content;
	struct lemona_stats stats;

	lemona_get_stats(&stats);
	*status = (struct lemona_wire_status){
		.queued = READ_ONCE(s->sink.queued),
		.issued = stats.issued,
		.recorded = stats.recorded,
		.dropped = stats.dropped,
		.effects = stats.effects,
		.connects = s->connects,
		.refusals = s->refusals,
	};
	s->beaten = jiffies;
	start_frame(s, LEMONA_WIRE_HEARTBEAT, status, sizeof(*status));
}

static void start_end(struct lemona_server *s)
{
	struct lemona_wire_end *end = s->content;
	u32 count = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		end[count++] = (struct lemona_wire_end){
			.cpu = cpu,
			.next = s->next[cpu],
			.all = lemona_pool_made(cpu),
		};
	s->end_sent = true;
	start_frame(s, LEMONA_WIRE_END, end, count * sizeof(*end));
}

static void start_sub(struct lemona_server *s)
{
	struct lemona_subbuf *data = s->sending->data;

	if (s->category) {
		lemona_part_make(s->made, data, s->category);
		data = s->made;
	}
	start_frame(s, LEMONA_WIRE_SUBBUF, data, data->length);
}

/* Begin the next frame, if there is one to send */
static bool next_frame(struct lemona_server *s)
{
	bool ending;

	/* nothing may follow the end, a heartbeat neither */
	if (s->end_sent)
		return false;
	if (time_after_eq(jiffies, s->beaten + HEARTBEAT)) {
		start_heartbeat(s);
		return true;
	}
	/* before the queue is seen to be empty: then nothing more comes */
	ending = smp_load_acquire(&s->ending);
	s->sending = lemona_sink_take(&s->sink);
	if (s->sending)
		start_sub(s);
	else if (ending)
		start_end(s);
	else
		return false;
	return true;
}

static void frame_put(struct lemona_server *s)
{
	const struct lemona_subbuf *h;

	if (!s->sending)
		return;
	h = s->sending->data;
	s->next[h->cpu] = h->number + 1;
	s->sent = s->sending->order + 1;
	s->sending = NULL;
}

/* Fill the link's next message */
static void fill(struct lemona_server *s)
{
	while (s->parts || next_frame(s)) {
		struct kvec *part = &s->part[s->parts - 1];
		u32 put = lemona_link_put(&s->link, part->iov_base,
					  part->iov_len);

		part->iov_base += put;
		part->iov_len -= put;
		if (part->iov_len)
			return;
		if (!--s->parts)
			frame_put(s);
	}
}

/* Send and receive until the link breaks. Return: why. */
static int run(struct lemona_server *s)
{
	int received, sent;

	for (;;) {
		received = lemona_link_receive(&s->link, take_frame, s);
		if (received < 0)
			return received;
		if (received)
			s->heard = jiffies;
		if (s->ready)
			fill(s);
		sent = lemona_link_flush(&s->link);
		if (sent < 0)
			return sent;
		if (kthread_should_stop())
			return -ESHUTDOWN;
		if (time_after(jiffies, s->heard + SILENCE))
			return -ETIMEDOUT;
		if (s->end_sent && !s->parts && !s->link.out_len && !s->shut) {
			s->shut = true;
			/* this wakes us */
			kernel_sock_shutdown(s->link.sock, SHUT_WR);
		}
		if (!received && !sent)
			rest(s, HEARTBEAT);
	}
}

static void report(struct lemona_server *s, int error)
{
	if (error == -EBADMSG || error == -EKEYREJECTED)
		s->refusals++;
	if (error == s->reported)
		return;
	s->reported = error;
	switch (error) {
	case -EKEYREJECTED:
		pr_err("lemona: server %s: one of us has the wrong key\n",
		       s->name);
		break;
	case -EBADMSG:
		pr_err("lemona: server %s: a message was altered, replayed or reordered\n",
		       s->name);
		break;
	case -ENOKEY:
		pr_err("lemona: server %s: does not know machine %s\n",
		       s->name, lemona_machine);
		break;
	case -ESTALE:
		pr_err("lemona: server %s: has more of this boot than there is: was this machine put back to an earlier state?\n",
		       s->name);
		break;
	default:
		pr_warn("lemona: server %s: %pe; will connect again\n",
			s->name, ERR_PTR(error));
	}
}

static int connect_and_run(struct lemona_server *s)
{
	struct lemona_wire_hello hello = {
		.magic = LEMONA_WIRE_MAGIC,
		.version = LEMONA_WIRE_VERSION,
		.mode = lemona_encrypted ? LEMONA_WIRE_NOISE :
					   LEMONA_WIRE_PLAIN,
		.abi_hash = LEMONA_ABI_HASH,
		.boot_id = lemona_boot_id,
		.cpus = nr_cpu_ids,
		.category = s->category,
	};
	u8 key[LEMONA_KEY_SIZE];
	int error;

	strscpy(hello.machine, lemona_machine, sizeof(hello.machine));
	s->tried = get_key(key);
	s->connects++;
	s->ready = false;
	s->parts = 0;
	s->sending = NULL;
	s->sent = 0;
	s->end_sent = false;
	s->shut = false;
	s->closed = false;
	s->heard = jiffies;
	s->beaten = jiffies - HEARTBEAT;
	error = lemona_link_open(&s->link, &s->address, &hello, key);
	memzero_explicit(key, sizeof(key));
	if (!error) {
		add_wait_queue(sk_sleep(s->link.sock->sk), &s->wait);
		error = run(s);
		remove_wait_queue(sk_sleep(s->link.sock->sk), &s->wait);
	}
	lemona_link_close(&s->link);
	return error;
}

static int server_fn(void *arg)
{
	unsigned int flags = memalloc_noio_save();
	struct lemona_server *s = arg;
	long delay = RETRY_MIN;
	int error;

	await_key(s, MAX_SCHEDULE_TIMEOUT);
	while (!kthread_should_stop()) {
		error = connect_and_run(s);
		/* it has all of it, and there is nothing more to be told */
		if (READ_ONCE(s->ending) && s->closed &&
		    !READ_ONCE(s->sink.queued))
			break;
		report(s, error);
		if (s->ready)
			delay = RETRY_MIN;
		await_key(s, delay);
		delay = min(delay * 2, (long)RETRY_MAX);
	}
	lemona_sink_remove(&s->sink);
	complete_all(&s->done);
	while (!kthread_should_stop())
		rest(s, MAX_SCHEDULE_TIMEOUT);
	memalloc_noio_restore(flags);
	return 0;
}

/* IP:PORT or [IP]:PORT, then perhaps /CATEGORY */
static int parse_address(struct lemona_server *s, char *text)
{
	char *category = strchr(text, '/');
	char *port = strrchr(text, ':');
	char *ip = text;
	size_t len;

	s->name = kstrdup(text, GFP_KERNEL);
	if (!s->name)
		return -ENOMEM;
	if (!port)
		return -EINVAL;
	if (category) {
		*category++ = '\0';
		s->category = lemona_category(category);
		if (!s->category)
			return -EINVAL;
	}
	*port++ = '\0';
	len = strlen(ip);
	if (len > 2 && ip[0] == '[' && ip[len - 1] == ']') {
		ip[len - 1] = '\0';
		ip++;
	}
	return inet_pton_with_scope(&init_net, AF_UNSPEC, ip, port,
				    &s->address);
}

static bool machine_name_ok(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-");

	return len && !name[len] && len < sizeof_field(struct lemona_wire_hello,
						       machine);
}

static int server_init(struct lemona_server *s, char *text)
{
	u32 content = max(sizeof(struct lemona_wire_status),
			  nr_cpu_ids * sizeof(struct lemona_wire_end));
	int error = parse_address(s, text);

	if (error) {
		pr_err("lemona: server=%s: not IP:PORT, perhaps with /network or /disk\n",
		       s->name ?: "");
		return error;
	}
	if (s->category) {
		s->made = vmalloc(lemona_part_max(lemona_capacity));
		if (!s->made)
			return -ENOMEM;
	}
	init_completion(&s->done);
	init_waitqueue_func_entry(&s->wait, kick_socket);
	s->sink.kick = kick_sink;
	s->sink.wants = wants;
	s->next = kcalloc(nr_cpu_ids, sizeof(*s->next), GFP_KERNEL);
	s->content = kzalloc(content, GFP_KERNEL);
	if (!s->next || !s->content)
		return -ENOMEM;
	return lemona_link_init(&s->link, sizeof(struct lemona_wire_frame) +
				LEMONA_HASH_SIZE + content) ?:
	       lemona_sink_add(&s->sink);
}

/* Nothing may be of no server's category, and parts must be sub-buffers */
static int check_categories(void)
{
	bool split = false;
	u32 all = 0;
	unsigned int i;

	for (i = 0; i < nr_servers; i++) {
		split = split || servers[i].category;
		all |= servers[i].category ?: ~0U;
	}
	if (!split)
		return 0;
	if (lemona_copies) {
		pr_err("lemona: copies= spreads by CPU: not with servers of a category\n");
		return -EINVAL;
	}
	if (lemona_part_max(lemona_capacity) > LEMONA_SUBBUF_MAX) {
		pr_err("lemona: with servers of a category subbuf_kb can be at most 816\n");
		return -EINVAL;
	}
	if (!lemona_relay && !lemona_categories_are_all(all)) {
		pr_err("lemona: relay=0, and servers of one category only: nobody would have the other\n");
		return -EINVAL;
	}
	static_branch_enable(&lemona_by_category);
	return 0;
}

/**
 * lemona_servers_init - know the servers of lemona.server=
 *
 * Before anything is recorded. Return: 0 or an error.
 */
int lemona_servers_init(void)
{
	char *list, *rest, *text;
	int error = 0;

	if (!lemona_server_list || !*lemona_server_list)
		return 0;
	if (!lemona_machine || !machine_name_ok(lemona_machine)) {
		pr_err("lemona: with server= there must be machine=NAME, of a-z 0-9 . _ -\n");
		return -EINVAL;
	}
	list = kstrdup(lemona_server_list, GFP_KERNEL);
	if (!list)
		return -ENOMEM;
	rest = list;
	while (!error && (text = strsep(&rest, ","))) {
		error = nr_servers == SERVERS_MAX ?
			-ENOSPC : server_init(&servers[nr_servers++], text);
	}
	kfree(list);
	error = error ?: check_categories();
	if (error)
		lemona_servers_exit();
	return error;
}

/** lemona_servers_start - connect, once there is a key */
int lemona_servers_start(void)
{
	struct task_struct *thread;
	unsigned int i;

	for (i = 0; i < nr_servers; i++) {
		thread = kthread_create(server_fn, &servers[i],
					"lemona_server/%u", i);
		if (IS_ERR(thread))
			return PTR_ERR(thread);
		WRITE_ONCE(servers[i].thread, thread);
		wake_up_process(thread);
	}
	return 0;
}

/**
 * lemona_servers_end - give the servers no more, and tell them so
 *
 * What is closed later none of them gets: their copies end at one place.
 */
void lemona_servers_end(void)
{
	unsigned int i;
	u32 bits = 0;

	for (i = 0; i < nr_servers; i++)
		bits |= servers[i].sink.bit;
	lemona_sinks_end(bits);
	for (i = 0; i < nr_servers; i++) {
		/* what is owed to it was queued before */
		smp_store_release(&servers[i].ending, true);
		kick(&servers[i]);
	}
}

/**
 * lemona_servers_wait - wait until the servers that have come have closed the record
 *
 * After lemona_servers_end(). They have all of it: for one that is gone by then
 * nobody waits for ever.
 *
 * Return: 0 or -ERESTARTSYS.
 */
int lemona_servers_wait(void)
{
	unsigned long end = jiffies + FAREWELL;
	unsigned int i;
	long ret;

	for (i = 0; i < nr_servers; i++) {
		struct lemona_server *s = &servers[i];
		long left = end - jiffies;

		if (!s->sink.attached)
			continue;
		ret = wait_for_completion_interruptible_timeout(&s->done,
								max(left, 0L));
		if (ret < 0)
			return ret;
		if (!ret)
			pr_warn("lemona: server %s: has the record, and has not closed it\n",
				s->name);
	}
	return 0;
}

static bool any_attached(void)
{
	unsigned int i;

	for (i = 0; i < nr_servers; i++) {
		if (servers[i].sink.attached)
			return true;
	}
	return false;
}

/**
 * lemona_servers_stop - send what is there, if that can be, and leave
 *
 * That is also what was lost: to say so takes sub-buffers, and all may be queued.
 */
void lemona_servers_stop(void)
{
	unsigned int i;

	while (!lemona_push(false) && any_attached() &&
	       lemona_pool_wait_free(SILENCE))
		;
	lemona_servers_end();
	for (i = 0; i < nr_servers; i++) {
		struct lemona_server *s = &servers[i];
		struct task_struct *thread = s->thread;
		u32 left;

		if (!thread)
			continue;
		if (s->sink.attached)
			wait_for_completion_timeout(&s->done, SILENCE);
		left = READ_ONCE(s->sink.queued);
		if (left)
			pr_warn("lemona: server %s: %u sub-buffers were not acknowledged\n",
				s->name, left);
		/* whoever kicks it must not find it gone */
		WRITE_ONCE(s->thread, NULL);
		lemona_pool_sync();
		kthread_stop(thread);
	}
}

void lemona_servers_exit(void)
{
	unsigned int i;

	for (i = 0; i < nr_servers; i++) {
		lemona_link_exit(&servers[i].link);
		vfree(servers[i].made);
		kfree(servers[i].content);
		kfree(servers[i].next);
		kfree(servers[i].name);
	}
	nr_servers = 0;
	memzero_explicit(machine_key.key, sizeof(machine_key.key));
}
