// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What is recorded of a page that was stored to.
 *
 * Only the bytes that changed are, where the caller knows what was there before.
 *
 * Stray bytes: a page has bytes behind the end of the file, too, and may be
 * stored to there; or Linux has filled it with others when it read it. If the
 * file then grows over them, their block may have no buffer that is mapped. The
 * kernel does not write such a one back, so they are not in the file, although
 * it reads so until the page goes. A later fault or write may map it, also one
 * that fails, and then they are. So what is recorded of such a block is what the
 * disk has; and from then on, whatever may map one of that inode makes the whole
 * page be captured.
 */
#include <linux/buffer_head.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "lemona.h"

/* Record @len bytes at @offset of a page, whose content is @data. */
static void put_bytes(const struct lemona_page *p, const void *data,
		      size_t offset, size_t len)
{
	loff_t pos = ((loff_t)p->index << PAGE_SHIFT) + offset;
	struct lemona_slot slot;
	struct lemona_write *w;

	w = lemona_effect(&slot, LEMONA_OP_PAGE, p->inode, sizeof(*w) + len);
	if (!w) {
		lemona_lost(&slot, p->inode, LEMONA_LOST_CONTENT, pos, len, 1);
		return;
	}
	w->e.h.tid = p->who.tid;
	w->pos = pos;
	w->len = len;
	w->flags = 0;
	lemona_copy(w->data, data + offset, len);
	lemona_end(&slot);
}

/* Unchanged bytes between two changed ones that are cheaper than a record */
#define JOIN_BYTES	64

/* Compare words of two pages from @i on: most are the same. Return: first other */
static size_t same_until(const u64 *a, const u64 *b, size_t i, size_t words)
{
	for (; i + 16 <= words; i += 16) {
		const u64 *x = a + i, *y = b + i;

		if ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) |
		    (x[3] ^ y[3]) | (x[4] ^ y[4]) | (x[5] ^ y[5]) |
		    (x[6] ^ y[6]) | (x[7] ^ y[7]) | (x[8] ^ y[8]) |
		    (x[9] ^ y[9]) | (x[10] ^ y[10]) | (x[11] ^ y[11]) |
		    (x[12] ^ y[12]) | (x[13] ^ y[13]) | (x[14] ^ y[14]) |
		    (x[15] ^ y[15]))
			break;
	}
	while (i < words && a[i] == b[i])
		i++;
	return i;
}

/* Record the words of a page that differ from what was there. */
static void put_changed_bytes(const struct lemona_page *p, const void *data,
			      const void *shadow, size_t len)
{
	size_t words = DIV_ROUND_UP(len, sizeof(u64));
	const u64 *now = data, *then = shadow;
	size_t first = 0, end = 0, i = 0, at;

	while ((i = same_until(now, then, i, words)) < words) {
		at = i++ * sizeof(u64);
		if (end && at - end > JOIN_BYTES) {
			put_bytes(p, data, first, end - first);
			end = 0;
		}
		if (!end)
			first = at;
		end = min(at + sizeof(u64), len);
	}
	if (end)
		put_bytes(p, data, first, end - first);
}

/**
 * lemona_page_put_disk - record what the frozen disk holds of a page
 * @p: the page
 */
void lemona_page_put_disk(const struct lemona_page *p)
{
	loff_t pos = (loff_t)p->index << PAGE_SHIFT;
	loff_t size = i_size_read(p->inode);
	struct page *page;
	void *data;

	if (pos >= size)
		return;
	page = alloc_page(GFP_NOFS | __GFP_NOFAIL);
	if (lemona_ext4_read_disk(p->inode, pos, page, 0, PAGE_SIZE)) {
		lemona_taint(p->inode, LEMONA_TAINT_WRITE_ERROR,
			     "a mapped page could not be read from the disk");
	} else {
		data = kmap_local_page(page);
		put_bytes(p, data, 0, min_t(loff_t, PAGE_SIZE, size - pos));
		kunmap_local(data);
	}
	__free_page(page);
}

/*
 * Which bytes of a page are in the file, if there are stray ones among them.
 * @data, @len: what the cache has of the page at @pos, whose folio is locked.
 * Return: a page to be freed; NULL if all are in the file
 */
static struct page *without_strays(struct inode *inode, struct folio *folio,
				   loff_t pos, const void *data, size_t len)
{
	struct buffer_head *head = folio_buffers(folio), *bh = head;
	size_t size = i_blocksize(inode);
	loff_t at = folio_pos(folio);
	struct page *copy = NULL;
	int ret;

	do {
		size_t offset = at - pos;

		/* without a mapped buffer, nothing is on its way to a block */
		if (at >= pos && offset < len && !(bh && buffer_mapped(bh)) &&
		    memchr_inv(data + offset, 0, min(size, len - offset))) {
			if (!copy) {
				copy = alloc_page(GFP_NOFS | __GFP_NOFAIL);
				memcpy_to_page(copy, 0, data, len);
			}
			ret = lemona_ext4_read_disk(inode, at, copy, offset,
						    size);
			if (ret == -ENODATA)
				break;
			if (ret)
				lemona_taint(inode, LEMONA_TAINT_WRITE_ERROR,
					     "a mapped page could not be read from the disk");
		}
		at += size;
		bh = bh ? bh->b_this_page : NULL;
	} while (bh ? bh != head : at < pos + len);
	if (copy && !memcmp(page_address(copy), data, len)) {
		__free_page(copy);
		copy = NULL;
	}
	return copy;
}

/**
 * lemona_page_put - record what the file has of a page
 * @p: the page
 * @folio: it is in; locked
 * @shadow: what was there before it was stored to, if only stores have changed
 *	it since; or NULL
 */
void lemona_page_put(const struct lemona_page *p, struct folio *folio,
		     const void *shadow)
{
	loff_t pos = (loff_t)p->index << PAGE_SHIFT;
	loff_t size = i_size_read(p->inode);
	struct page *copy;
	void *data;
	size_t len;

	if (pos >= size)
		return;
	len = min_t(loff_t, PAGE_SIZE, size - pos);
	data = kmap_local_folio(folio, offset_in_folio(folio, pos));
	copy = without_strays(p->inode, folio, pos, data, len);
	if (copy) {
		set_bit(AS_LEMONA_STRAY, &p->inode->i_mapping->flags);
		put_bytes(p, page_address(copy), 0, len);
		__free_page(copy);
	} else if (shadow) {
		put_changed_bytes(p, data, shadow, len);
	} else {
		put_bytes(p, data, 0, len);
	}
	kunmap_local(data);
}
