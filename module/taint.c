// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What effects do not tell: it is named, for whoever relies on a rebuild.
 */
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/string.h>

#include "lemona.h"

/* Sleeps for nothing: lemona_prepare() is the caller's. */
static void taint(u64 ino, u32 gen, dev_t dev, u32 reason, const char *text)
{
	size_t len = strlen(text);
	struct lemona_slot slot;
	struct lemona_taint *t;

	t = lemona_begin(&slot, LEMONA_KIND_EFFECT, LEMONA_OP_TAINT,
			 sizeof(*t) + len);
	if (!t) {
		lemona_lost(&slot, NULL, LEMONA_LOST_ALL, 0, U64_MAX, 1);
		return;
	}
	t->e.ino = ino;
	t->e.gen = gen;
	t->e.dev = new_encode_dev(dev);
	t->reason = reason;
	t->text_len = len;
	memcpy(t->text, text, len);
	lemona_end(&slot);
}

/**
 * lemona_taint - record that an inode changed in a way that effects do not tell
 * @inode: which
 * @reason: LEMONA_TAINT_*
 * @text: what happened
 */
void lemona_taint(struct inode *inode, u32 reason, const char *text)
{
	lemona_prepare();
	taint(inode->i_ino, inode->i_generation, inode->i_sb->s_dev, reason,
	      text);
}

void lemona_on_unrecorded(struct inode *inode, const char *what)
{
	if (lemona_traced(inode))
		lemona_taint(inode, LEMONA_TAINT_IOCTL, what);
}

/* Writeback ends in an interrupt. */
void lemona_on_write_error(struct inode *inode)
{
	if (lemona_traced(inode))
		taint(inode->i_ino, inode->i_generation, inode->i_sb->s_dev,
		      LEMONA_TAINT_WRITE_ERROR,
		      "its content could not be written back");
}

void lemona_on_raw_write(struct inode *bd_inode, loff_t pos, size_t bytes)
{
	struct gendisk *disk = I_BDEV(bd_inode)->bd_disk;
	struct block_device *part;
	unsigned long index;
	char text[64];

	scnprintf(text, sizeof(text), "raw write of %zu bytes at %lld", bytes,
		  pos);
	lemona_prepare();
	taint(0, 0, bd_inode->i_rdev, LEMONA_TAINT_RAW_WRITE, text);
	/* a disk and its partitions are names of the same blocks */
	if (bd_inode->i_rdev != disk_devt(disk)) {
		taint(0, 0, disk_devt(disk), LEMONA_TAINT_RAW_WRITE, text);
		return;
	}
	rcu_read_lock();
	xa_for_each_start(&disk->part_tbl, index, part, 1)
		taint(0, 0, part->bd_dev, LEMONA_TAINT_RAW_WRITE, text);
	rcu_read_unlock();
}

/* What is found may be found anywhere, under any lock. */
void lemona_on_fs_error(dev_t dev, u64 ino, const char *func)
{
	char text[96];

	scnprintf(text, sizeof(text), "the file system found an error in %s()",
		  func);
	taint(ino, 0, dev, LEMONA_TAINT_FS_ERROR, text);
}

/* A device stores where its registers say: to any page, and so to any disk. */
void lemona_on_registers(const char *device)
{
	char text[96];

	scnprintf(text, sizeof(text),
		  "registers of PCI device %s were written or mapped", device);
	lemona_prepare();
	taint(0, 0, 0, LEMONA_TAINT_REGISTERS, text);
}

/* Its code is about to run, and may do anything to any disk. */
static int module_comes(struct notifier_block *nb, unsigned long state,
			void *data)
{
	const struct module *mod = data;
	char text[32 + MODULE_NAME_LEN];

	if (state != MODULE_STATE_COMING)
		return NOTIFY_DONE;
	scnprintf(text, sizeof(text), "module %s was loaded", mod->name);
	lemona_prepare();
	taint(0, 0, 0, LEMONA_TAINT_MODULE, text);
	return NOTIFY_OK;
}

static struct notifier_block modules = { .notifier_call = module_comes };

int lemona_taint_init(void)
{
	return register_module_notifier(&modules);
}

void lemona_taint_exit(void)
{
	unregister_module_notifier(&modules);
}
