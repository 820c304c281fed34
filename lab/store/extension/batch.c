// SPDX-License-Identifier: MIT
/*
 * Two table-valued functions of SQLite that hand out the rows in a blob, so that
 * a statement loads thousands of rows without a call for each.
 *
 *   INSERT INTO t SELECT c0, c1, c2 FROM lemona_batch(?1, 3)
 *
 * lemona_batch(BLOB, WIDTH): the blob is one MessagePack array.
 *
 * It holds nil, booleans, integers, floats, strings and binary; WIDTH, from 1
 * to BATCH_COLUMNS, says how many of its elements make a row.
 * A float with an integral value below 2^53 is an integer: JavaScript has no
 * other way to write one above 2^32. Anything else in the blob, a cut blob, and
 * a count that is no multiple of WIDTH are errors, never rows.
 *
 * lemona_rows(BLOB, WIDTH): the blob is rows of integers, for tables of which
 * there are very many. A row is a u64 whose bit N says that column N is not
 * NULL, then WIDTH s64, all little-endian.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sqlite3ext.h>

SQLITE_EXTENSION_INIT1

#define BATCH_COLUMNS 24
#define COLUMN_BLOB BATCH_COLUMNS
#define COLUMN_WIDTH (BATCH_COLUMNS + 1)
/* Integers that a double holds exactly lie below 2^53. */
#define EXACT_LIMIT 9007199254740992.0

enum kind { NIL, INTEGER, REAL, TEXT, BLOB };

struct value {
	enum kind kind;
	union {
		int64_t integer;
		double real;
		struct {
			const unsigned char *bytes;
			uint32_t length;
		};
	};
};

struct cursor {
	sqlite3_vtab_cursor base;
	/* A copy: the argument is gone when xFilter returns. */
	sqlite3_value *held;
	const unsigned char *at;
	const unsigned char *end;
	/* Rows after the current one. */
	uint64_t left;
	sqlite3_int64 rowid;
	/* Of a row of integers; NULL: it is one of values. */
	const unsigned char *integers;
	int width;
	int eof;
	struct value row[BATCH_COLUMNS];
};

struct table {
	sqlite3_vtab base;
	int is_fixed;
};

static int is_fixed(const sqlite3_vtab *vtab)
{
	return ((const struct table *)vtab)->is_fixed;
}

static int fail(sqlite3_vtab *vtab, const char *why)
{
	sqlite3_free(vtab->zErrMsg);
	vtab->zErrMsg = sqlite3_mprintf("%s: %s", is_fixed(vtab) ? "lemona_rows" : "lemona_batch", why);
	return SQLITE_ERROR;
}

/* A big-endian number of `bytes` bytes, of which there are enough. */
static uint64_t number(const unsigned char *at, int bytes)
{
	uint64_t value = 0;

	for (int i = 0; i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

static int64_t sign_extend(uint64_t value, int bytes)
{
	int shift = 64 - 8 * bytes;

	return (int64_t)(value << shift) >> shift;
}

static void take_double(struct value *value, double real)
{
	if (fabs(real) < EXACT_LIMIT && real == floor(real)) {
		value->kind = INTEGER;
		value->integer = (int64_t)real;
	} else {
		value->kind = REAL;
		value->real = real;
	}
}

/*
 * How a type byte from 0xc0 to 0xdf is read: `bytes` bytes follow it, which are
 * the value, or its length.
 */
static const struct {
	enum { BAD, NOTHING, BOOLEAN, UNSIGNED, SIGNED, FLOATING, STRING, BINARY } how;
	int bytes;
} types[32] = {
	[0xc0 - 0xc0] = { NOTHING, 0 },	 [0xc2 - 0xc0] = { BOOLEAN, 0 },  [0xc3 - 0xc0] = { BOOLEAN, 0 },
	[0xc4 - 0xc0] = { BINARY, 1 },	 [0xc5 - 0xc0] = { BINARY, 2 },	  [0xc6 - 0xc0] = { BINARY, 4 },
	[0xca - 0xc0] = { FLOATING, 4 }, [0xcb - 0xc0] = { FLOATING, 8 }, [0xcc - 0xc0] = { UNSIGNED, 1 },
	[0xcd - 0xc0] = { UNSIGNED, 2 }, [0xce - 0xc0] = { UNSIGNED, 4 }, [0xcf - 0xc0] = { UNSIGNED, 8 },
	[0xd0 - 0xc0] = { SIGNED, 1 },	 [0xd1 - 0xc0] = { SIGNED, 2 },	  [0xd2 - 0xc0] = { SIGNED, 4 },
	[0xd3 - 0xc0] = { SIGNED, 8 },	 [0xd9 - 0xc0] = { STRING, 1 },	  [0xda - 0xc0] = { STRING, 2 },
	[0xdb - 0xc0] = { STRING, 4 },
};

/* Reads the next element; NULL, or why it could not. */
static const char *take(struct cursor *cur, struct value *value)
{
	static const char cut[] = "the blob is cut";
	unsigned char type;
	int how, bytes;
	uint64_t raw;

	if (cur->at >= cur->end)
		return cut;
	type = *cur->at++;
	value->kind = INTEGER;
	if (type < 0x80 || type >= 0xe0) {
		value->integer = (int8_t)type;
		return NULL;
	}
	if (type >= 0xa0 && type < 0xc0) {
		how = STRING;
		bytes = 0;
		raw = type & 0x1f;
	} else if (type >= 0xc0) {
		how = types[type - 0xc0].how;
		bytes = types[type - 0xc0].bytes;
		if (cur->end - cur->at < bytes)
			return cut;
		raw = number(cur->at, bytes);
		cur->at += bytes;
	} else {
		return "an element is no plain value";
	}
	switch (how) {
	case NOTHING:
		value->kind = NIL;
		return NULL;
	case BOOLEAN:
		value->integer = type & 1;
		return NULL;
	case UNSIGNED:
		value->integer = (int64_t)raw;
		return raw > INT64_MAX ? "an integer has more than 63 bits" : NULL;
	case SIGNED:
		value->integer = sign_extend(raw, bytes);
		return NULL;
	case FLOATING: {
		uint32_t word = (uint32_t)raw;
		double real;
		float single;

		memcpy(&real, &raw, sizeof(real));
		memcpy(&single, &word, sizeof(single));
		take_double(value, bytes == 8 ? real : (double)single);
		return NULL;
	}
	case STRING:
	case BINARY:
		if ((uint64_t)(cur->end - cur->at) < raw)
			return cut;
		value->kind = how == STRING ? TEXT : BLOB;
		value->bytes = cur->at;
		value->length = (uint32_t)raw;
		cur->at += raw;
		return NULL;
	default:
		return "an element is no plain value";
	}
}

static int batch_next(sqlite3_vtab_cursor *base)
{
	struct cursor *cur = (struct cursor *)base;

	if (cur->left == 0) {
		cur->eof = 1;
		return cur->at == cur->end ? SQLITE_OK : fail(base->pVtab, "bytes are left over");
	}
	cur->left--;
	cur->rowid++;
	if (is_fixed(base->pVtab)) {
		cur->integers = cur->at;
		cur->at += 8 * (cur->width + 1);
		return SQLITE_OK;
	}
	for (int i = 0; i < cur->width; i++) {
		const char *why = take(cur, &cur->row[i]);

		if (why)
			return fail(base->pVtab, why);
	}
	return SQLITE_OK;
}

/* The count of the array that the blob is. */
static const char *take_count(struct cursor *cur, uint64_t *count)
{
	unsigned char type;
	int bytes;

	if (cur->at >= cur->end)
		return "the blob is empty";
	type = *cur->at++;
	if (type >= 0x90 && type < 0xa0) {
		*count = type & 0xf;
		return NULL;
	}
	if (type != 0xdc && type != 0xdd)
		return "the blob is no array";
	bytes = type == 0xdc ? 2 : 4;
	if (cur->end - cur->at < bytes)
		return "the blob is cut";
	*count = number(cur->at, bytes);
	cur->at += bytes;
	return NULL;
}

static int batch_filter(sqlite3_vtab_cursor *base, int plan, const char *name, int argc, sqlite3_value **argv)
{
	struct cursor *cur = (struct cursor *)base;
	const char *why;
	uint64_t count;

	(void)name;
	if (plan != 3 || argc != 2)
		return fail(base->pVtab, "it takes a blob and a width");
	sqlite3_value_free(cur->held);
	cur->held = sqlite3_value_dup(argv[0]);
	if (!cur->held)
		return SQLITE_NOMEM;
	cur->width = sqlite3_value_int(argv[1]);
	if (cur->width < 1 || cur->width > BATCH_COLUMNS)
		return fail(base->pVtab, "the width is out of range");
	cur->at = sqlite3_value_blob(cur->held);
	cur->end = cur->at ? cur->at + sqlite3_value_bytes(cur->held) : NULL;
	cur->eof = 0;
	cur->rowid = 0;
	if (is_fixed(base->pVtab)) {
		count = (uint64_t)(cur->end - cur->at);
		if (count % (8 * (uint64_t)(cur->width + 1)))
			return fail(base->pVtab, "the blob ends within a row");
		cur->left = count / (8 * (uint64_t)(cur->width + 1));
		return batch_next(base);
	}
	why = take_count(cur, &count);
	if (why)
		return fail(base->pVtab, why);
	if (count % (uint64_t)cur->width)
		return fail(base->pVtab, "the count of elements is no multiple of the width");
	cur->left = count / (uint64_t)cur->width;
	return batch_next(base);
}

static int batch_column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int column)
{
	struct cursor *cur = (struct cursor *)base;
	const struct value *value = &cur->row[column];

	if (column == COLUMN_WIDTH) {
		sqlite3_result_int(ctx, cur->width);
		return SQLITE_OK;
	}
	if (column >= cur->width)
		return SQLITE_OK;
	if (cur->integers) {
		sqlite3_int64 integer;

		/* The host is x86-64, as the guest is. */
		memcpy(&integer, cur->integers + 8 * (column + 1), sizeof(integer));
		if (cur->integers[column / 8] >> column % 8 & 1)
			sqlite3_result_int64(ctx, integer);
		return SQLITE_OK;
	}
	switch (value->kind) {
	case NIL:
		break;
	case INTEGER:
		sqlite3_result_int64(ctx, value->integer);
		break;
	case REAL:
		sqlite3_result_double(ctx, value->real);
		break;
	case TEXT:
		sqlite3_result_text64(ctx, (const char *)value->bytes, value->length, SQLITE_TRANSIENT, SQLITE_UTF8);
		break;
	case BLOB:
		sqlite3_result_blob64(ctx, value->bytes, value->length, SQLITE_TRANSIENT);
		break;
	}
	return SQLITE_OK;
}

static int batch_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
	*rowid = ((struct cursor *)base)->rowid;
	return SQLITE_OK;
}

static int batch_eof(sqlite3_vtab_cursor *base)
{
	return ((struct cursor *)base)->eof;
}

/* Both arguments must be there; a plan without them is refused. */
static int batch_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
	int found = 0;

	(void)vtab;
	for (int i = 0; i < info->nConstraint; i++) {
		int which = info->aConstraint[i].iColumn - COLUMN_BLOB;

		if (which < 0 || which > 1 || info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
			continue;
		if (!info->aConstraint[i].usable)
			return SQLITE_CONSTRAINT;
		info->aConstraintUsage[i].argvIndex = which + 1;
		info->aConstraintUsage[i].omit = 1;
		found |= 1 << which;
	}
	info->idxNum = found;
	info->estimatedCost = 1000;
	info->estimatedRows = 1000;
	return found == 3 ? SQLITE_OK : SQLITE_CONSTRAINT;
}

static int batch_connect(sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **vtab, char **error)
{
	char sql[BATCH_COLUMNS * 5 + 64] = "CREATE TABLE x(";
	size_t length = strlen(sql);
	struct table *table;
	int status;

	(void)argc;
	(void)argv;
	(void)error;
	for (int i = 0; i < BATCH_COLUMNS; i++) {
		sqlite3_snprintf((int)(sizeof(sql) - length), sql + length, "c%d,", i);
		length += strlen(sql + length);
	}
	sqlite3_snprintf((int)(sizeof(sql) - length), sql + length, "batch HIDDEN, width HIDDEN)");
	status = sqlite3_declare_vtab(db, sql);
	if (status != SQLITE_OK)
		return status;
	table = sqlite3_malloc(sizeof(*table));
	if (!table)
		return SQLITE_NOMEM;
	memset(table, 0, sizeof(*table));
	table->is_fixed = aux != NULL;
	*vtab = &table->base;
	sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
	return SQLITE_OK;
}

static int batch_disconnect(sqlite3_vtab *vtab)
{
	sqlite3_free(vtab);
	return SQLITE_OK;
}

static int batch_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **base)
{
	struct cursor *cur = sqlite3_malloc(sizeof(*cur));

	(void)vtab;
	if (!cur)
		return SQLITE_NOMEM;
	memset(cur, 0, sizeof(*cur));
	*base = &cur->base;
	return SQLITE_OK;
}

static int batch_close(sqlite3_vtab_cursor *base)
{
	sqlite3_value_free(((struct cursor *)base)->held);
	sqlite3_free(base);
	return SQLITE_OK;
}

/* No xCreate: it exists without CREATE VIRTUAL TABLE, and only so. */
static const sqlite3_module batch_module = {
	.xConnect = batch_connect,
	.xBestIndex = batch_best_index,
	.xDisconnect = batch_disconnect,
	.xOpen = batch_open,
	.xClose = batch_close,
	.xFilter = batch_filter,
	.xNext = batch_next,
	.xEof = batch_eof,
	.xColumn = batch_column,
	.xRowid = batch_rowid,
};

/* The name that SQLite derives from the file's: lemona-batch.so. */
int sqlite3_lemonabatch_init(sqlite3 *db, char **error, const sqlite3_api_routines *api)
{
	static int fixed;
	int status;

	(void)error;
	SQLITE_EXTENSION_INIT2(api);
	status = sqlite3_create_module(db, "lemona_batch", &batch_module, NULL);
	if (status != SQLITE_OK)
		return status;
	return sqlite3_create_module(db, "lemona_rows", &batch_module, &fixed);
}
