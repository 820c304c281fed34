// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * /dev/lemona: the relay's reading end, and the controls.
 *
 * read() returns one sub-buffer at a time, with its checksum. The sub-buffer is
 * given back to the pool at the next read(), when the reader shows that it has
 * delivered it: a reader that dies in between loses nothing, since the next one
 * gets it again. So does a reader whose read() failed.
 */
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/xattr.h>

#include "lemona.h"
#include "lemona_wire.h"
#include "pool.h"

/**
 * struct lemona_file - an open /dev/lemona
 * @lock: taken by every operation but poll
 * @reader: this file is the reader
 * @has_read: it has read the sub-buffer that was taken
 * @frozen: superblock that this file froze, referenced; or NULL
 * @held: what the freeze captured; its inodes are put after the thaw, since
 *	the last reference of an unlinked inode waits for it
 */
struct lemona_file {
	struct mutex lock;	/* protects the members */
	bool reader;
	bool has_read;
	struct super_block *frozen;
	struct list_head held;
};

/* Who reads, and what was taken for it but not given back */
static DEFINE_MUTEX(reader_lock);
static struct lemona_file *reader;
static struct lemona_sub *taken;

static int lemona_open(struct inode *inode, struct file *file)
{
	struct lemona_file *lf = kzalloc(sizeof(*lf), GFP_KERNEL);

	if (!lf)
		return -ENOMEM;
	mutex_init(&lf->lock);
	INIT_LIST_HEAD(&lf->held);
	file->private_data = lf;
	return nonseekable_open(inode, file);
}

static int lemona_thaw(struct lemona_file *lf)
{
	int error;

	if (!lf->frozen)
		return -EINVAL;
	error = thaw_super(lf->frozen, FREEZE_HOLDER_KERNEL);
	lemona_put_captured(&lf->held);
	deactivate_super(lf->frozen);
	lf->frozen = NULL;
	return error;
}

static int lemona_release(struct inode *inode, struct file *file)
{
	struct lemona_file *lf = file->private_data;

	if (lf->frozen)
		lemona_thaw(lf);
	mutex_lock(&reader_lock);
	if (reader == lf) {
		reader = NULL;
		lemona_relay_attach(false);
	}
	mutex_unlock(&reader_lock);
	kfree(lf);
	return 0;
}

static int lemona_become_reader(struct lemona_file *lf)
{
	int error = 0;

	mutex_lock(&reader_lock);
	if (!reader) {
		reader = lf;
		lf->reader = true;
		lemona_relay_attach(true);
	} else {
		error = -EBUSY;
	}
	mutex_unlock(&reader_lock);
	return error;
}

static ssize_t lemona_read(struct file *file, char __user *buf, size_t count,
			   loff_t *ppos)
{
	struct lemona_file *lf = file->private_data;
	struct lemona_subbuf *h;
	struct lemona_sub *sub;
	ssize_t ret;

	if (!lemona_relay)
		return -EOPNOTSUPP;
	if (mutex_lock_interruptible(&lf->lock))
		return -ERESTARTSYS;
	if (!lf->reader) {
		ret = lemona_become_reader(lf);
		if (ret)
			goto out;
		/* what the last reader did not give back comes again */
	}
	if (lf->has_read) {
		lf->has_read = false;
		lemona_relay_delivered(taken);
		WRITE_ONCE(taken, NULL);
	}
	if (!taken) {
		ret = lemona_relay_next(&sub, file->f_flags & O_NONBLOCK);
		if (ret)
			goto out;
		WRITE_ONCE(taken, sub);
	}
	h = taken->data;
	ret = h->length;
	if (count < h->length)
		ret = -EMSGSIZE;
	else if (copy_to_user(buf, h, h->length))
		ret = -EFAULT;
	lf->has_read = ret > 0;
out:
	mutex_unlock(&lf->lock);
	return ret;
}

static __poll_t lemona_poll(struct file *file, poll_table *wait)
{
	const struct lemona_file *lf = file->private_data;
	bool again = READ_ONCE(taken) && !READ_ONCE(lf->has_read);

	poll_wait(file, &lemona_readq, wait);
	return again || lemona_relay_readable() ? EPOLLIN | EPOLLRDNORM : 0;
}

/* Everybody waits for a frozen filesystem */
#define MARK_TRIES	100
#define MARK_PAUSE_MS	10

/*
 * Freeze, then make the record say all that the frozen disk says: pages still
 * pending from mappings, and a MARK. Nothing can change until the thaw.
 */
static int lemona_freeze(struct lemona_file *lf, struct lemona_freeze *arg)
{
	struct super_block *sb;
	struct file *file;
	int error, tries;

	if (arg->size != sizeof(*arg) || arg->label_len > sizeof(arg->label) ||
	    arg->flags & ~LEMONA_FREEZE_F_ENABLE)
		return -EINVAL;
	if (lf->frozen)
		return -EBUSY;
	arg->seq = 0;

	file = fget_raw(arg->fd);
	if (!file)
		return -EBADF;
	sb = file_inode(file)->i_sb;
	/* a program that thaws does not thaw this; of its own freeze, it does */
	error = sb->s_writers.frozen == SB_UNFROZEN ?
		freeze_super(sb, FREEZE_HOLDER_KERNEL) : -EBUSY;
	if (!error)
		atomic_inc(&sb->s_active);
	fput(file);
	if (error)
		return error;

	lf->frozen = sb;
	if (arg->flags & LEMONA_FREEZE_F_ENABLE)
		error = lemona_start();
	if (error) {
		lemona_thaw(lf);
		return error;
	}
	/* in lossy mode others may have taken all room: a mark without a number is none */
	for (tries = 0; !arg->seq && tries < MARK_TRIES; tries++) {
		if (tries)
			msleep(MARK_PAUSE_MS);
		arg->seq = lemona_capture_frozen(sb, &lf->held, arg->label,
						 arg->label_len);
		lemona_push(false);
	}
	if (!arg->seq) {
		lemona_thaw(lf);
		return -ENOBUFS;
	}
	arg->real_ns = ktime_get_real_ns();
	return 0;
}

/*
 * The record is delivered, and says what it leaves out. It ends with that. What
 * was closed before the servers were told so is theirs, and the reader's too.
 */
static int lemona_close(void)
{
	int error = lemona_drain() ?: lemona_account() ?: lemona_drain();

	if (error)
		return error;
	lemona_servers_end();
	return lemona_pool_wait(lemona_pool_closed()) ?: lemona_servers_wait();
}

static int lemona_set_times(const struct lemona_settimes *arg)
{
	struct file *file = fget_raw(arg->fd);
	struct timespec64 ts[4];
	int error = -EINVAL;
	int i;

	if (!file)
		return -EBADF;
	if (lemona_has_started()) {
		/* no effect would tell of it */
		error = -EBUSY;
		goto out;
	}
	for (i = 0; i < 4; i++) {
		ts[i].tv_sec = arg->sec[i];
		ts[i].tv_nsec = arg->nsec[i];
		if (arg->nsec[i] >= NSEC_PER_SEC)
			goto out;
	}
	error = mnt_want_write(file->f_path.mnt);
	if (error)
		goto out;
	error = lemona_ext4_set_times(file_inode(file), ts,
				      arg->mode & LEMONA_SETTIMES_MODE ?
				      arg->mode & S_IALLUGO : -1);
	mnt_drop_write(file->f_path.mnt);
out:
	fput(file);
	return error;
}

/* Past security_inode_getsecurity(), which makes version 2 of version 3 */
static int lemona_get_caps(struct lemona_caps *arg)
{
	struct file *file = fget_raw(arg->fd);
	ssize_t ret;

	if (!file)
		return -EBADF;
	ret = __vfs_getxattr(file->f_path.dentry, file_inode(file),
			     XATTR_NAME_CAPS, arg->value, sizeof(arg->value));
	fput(file);
	if (ret < 0)
		return ret;
	arg->size = ret;
	return 0;
}

static long lemona_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct lemona_file *lf = file->private_data;
	void __user *user = (void __user *)arg;
	union {
		struct lemona_freeze freeze;
		struct lemona_settimes times;
		struct lemona_caps caps;
		struct lemona_stats stats;
		struct lemona_key key;
	} u;
	long ret;

	switch (cmd) {
	case LEMONA_IOC_EXEMPT:
		lemona_exempt(current);
		return 0;
	case LEMONA_IOC_FREEZE:
		if (copy_from_user(&u.freeze, user, sizeof(u.freeze)))
			return -EFAULT;
		mutex_lock(&lf->lock);
		ret = lemona_freeze(lf, &u.freeze);
		mutex_unlock(&lf->lock);
		if (!ret && copy_to_user(user, &u.freeze, sizeof(u.freeze)))
			ret = -EFAULT;
		return ret;
	case LEMONA_IOC_THAW:
		mutex_lock(&lf->lock);
		ret = lemona_thaw(lf);
		mutex_unlock(&lf->lock);
		return ret;
	case LEMONA_IOC_CLOSE:
		return lemona_close();
	case LEMONA_IOC_DRAIN:
		return lemona_drain();
	case LEMONA_IOC_SETTIMES:
		if (copy_from_user(&u.times, user, sizeof(u.times)))
			return -EFAULT;
		return lemona_set_times(&u.times);
	case LEMONA_IOC_GETCAPS:
		if (copy_from_user(&u.caps, user, sizeof(u.caps)))
			return -EFAULT;
		memset(u.caps.value, 0, sizeof(u.caps.value));
		ret = lemona_get_caps(&u.caps);
		if (!ret && copy_to_user(user, &u.caps, sizeof(u.caps)))
			ret = -EFAULT;
		return ret;
	case LEMONA_IOC_KEY:
		if (copy_from_user(&u.key, user, sizeof(u.key)))
			return -EFAULT;
		ret = lemona_set_key(&u.key);
		memzero_explicit(&u, sizeof(u));
		return ret;
	case LEMONA_IOC_STATS:
		lemona_get_stats(&u.stats);
		if (copy_to_user(user, &u.stats, sizeof(u.stats)))
			return -EFAULT;
		return 0;
	}
	return -ENOTTY;
}

static const struct file_operations lemona_fops = {
	.owner = THIS_MODULE,
	.open = lemona_open,
	.release = lemona_release,
	.read = lemona_read,
	.poll = lemona_poll,
	.unlocked_ioctl = lemona_ioctl,
};

static struct miscdevice lemona_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "lemona",
	.fops = &lemona_fops,
	.mode = 0600,
};

int lemona_device_init(void)
{
	return misc_register(&lemona_misc);
}

void lemona_device_exit(void)
{
	misc_deregister(&lemona_misc);
}
