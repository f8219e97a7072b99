/* store_walk.c: does every page that LMDB would follow lead somewhere sensible?  LMDB 0.9 trusts page flags, node offsets, page numbers
 * and the list of free pages, and crashes the process over damaged ones.  This reads a file page by page with pread, believes
 * nothing, and never recurses.  What it cannot see (a damaged value, a damaged key) is found by the records' checksums. */
#include "alloc.h"
#include "store_file.h"

#include <string.h>
#include <unistd.h>

/* LMDB data version 1 on a 64-bit little-endian machine. */
enum {
    PAGE_HEADER = 16,
    PAGE_BRANCH = 0x01,
    PAGE_LEAF = 0x02,
    PAGE_OVERFLOW = 0x04,
    NODE_HEADER = 8,
    NODE_BIG = 0x01,
    NODE_TABLE = 0x02,
    DEPTH_MAX = 32, /* of LMDB's cursors */
    TABLES_MAX = 32,
    KEY_BYTES_MAX = 128 /* longer than any of ours */
};

typedef enum tree_kind { TREE_FREE, TREE_MAIN, TREE_TABLE } tree_kind;

typedef struct key_copy {
    uint32_t bytes; /* 0: none */
    uint8_t byte[KEY_BYTES_MAX];
} key_copy;

typedef struct step {
    uint64_t page;
    uint32_t level; /* 1: a leaf */
    key_copy least; /* what is below is not smaller: the parent says so, and look-ups believe it */
} step;

typedef struct walk {
    int fd;
    uint32_t page_size;
    uint64_t pages; /* in the file and at most last page + 1 */
    uint64_t last_page;
    uint8_t *used;  /* one bit a page */
    uint8_t *page;  /* the one being looked at */
    uint8_t *units; /* one bit for each two bytes of it that a node has */
    step *stack;
    size_t stack_count, stack_capacity;
    uint64_t entries; /* in the leaves so far */
    key_copy last;  /* of the leaves so far: pages are visited in the order of their keys */
    hone__tree table[TABLES_MAX];
    uint32_t table_count;
    const char *why;
} walk;

static uint64_t get(const uint8_t *at, size_t count) {
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static bool no(walk *w, const char *why) {
    w->why = why;
    return false;
}

/* Claim `count` pages: each has one owner. */
static bool claim(walk *w, uint64_t first, uint64_t count, bool on_disk) {
    uint64_t end = on_disk ? w->pages : w->last_page + 1;
    if (first < 2 || first >= end || count > end - first)
        return no(w, "a page number leads out of the file");
    for (uint64_t page = first; page < first + count; page++) {
        uint8_t bit = (uint8_t)(1u << (page & 7));
        if ((w->used[page >> 3] & bit) != 0)
            return no(w, "a page is used twice");
        w->used[page >> 3] |= bit;
    }
    return true;
}

static bool push(walk *w, uint64_t page, uint32_t level, const key_copy *least) {
    if (w->stack_count == w->stack_capacity) {
        size_t capacity = w->stack_capacity == 0 ? 256 : w->stack_capacity * 2;
        step *grown = hone__realloc(w->stack, capacity * sizeof *grown);
        if (grown == NULL)
            return no(w, NULL);
        w->stack = grown;
        w->stack_capacity = capacity;
    }
    w->stack[w->stack_count++] = (step){.page = page, .level = level, .least = *least};
    return true;
}

static key_copy key_of(const uint8_t *node) {
    key_copy key = {.bytes = (uint32_t)get(node + 6, 2)};
    key.bytes = key.bytes > KEY_BYTES_MAX ? 0 : key.bytes; /* refused elsewhere */
    memcpy(key.byte, node + NODE_HEADER, key.bytes);
    return key;
}

/* As LMDB compares: numbers in the list of free pages, else bytes. */
static bool is_less(tree_kind kind, const key_copy *a, const key_copy *b) {
    if (kind == TREE_FREE && a->bytes == 8 && b->bytes == 8)
        return get(a->byte, 8) < get(b->byte, 8);
    int order = memcmp(a->byte, b->byte, a->bytes < b->bytes ? a->bytes : b->bytes);
    return order != 0 ? order < 0 : a->bytes < b->bytes;
}

static bool read_at(walk *w, void *out, size_t count, uint64_t at) {
    ssize_t got = pread(w->fd, out, count, (off_t)at);
    return got == (ssize_t)count || no(w, got < 0 ? hone__file_unreadable : "a page lies beyond the end of the file");
}

/* A list of free pages: a count and that many page numbers, descending. */
static bool check_free_list(walk *w, const uint8_t *list, uint64_t bytes) {
    if (bytes < 8 || bytes % 8 != 0 || get(list, 8) > bytes / 8 - 1)
        return no(w, "a list of free pages has a senseless length");
    uint64_t count = get(list, 8), before = UINT64_MAX;
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t page = get(list + 8 * i, 8);
        if (page >= before)
            return no(w, "a list of free pages is out of order");
        before = page;
        if (!claim(w, page, 1, false))
            return false;
    }
    return true;
}

/* A value on pages of its own. */
static bool check_big(walk *w, tree_kind kind, uint64_t first, uint64_t bytes) {
    uint8_t header[PAGE_HEADER];
    if (first < 2 || first >= w->pages)
        return no(w, "a page number leads out of the file");
    if (!read_at(w, header, sizeof header, first * w->page_size))
        return false;
    uint64_t pages = get(header + 12, 4), need = (PAGE_HEADER - 1 + bytes) / w->page_size + 1;
    if (get(header, 8) != first || get(header + 10, 2) != PAGE_OVERFLOW || pages < need)
        return no(w, "a large value's page is damaged");
    if (!claim(w, first, pages, true))
        return false;
    if (kind != TREE_FREE)
        return true;
    uint8_t *list = bytes > pages * w->page_size ? NULL : hone__alloc((size_t)bytes);
    if (list == NULL)
        return no(w, NULL);
    bool fine = read_at(w, list, (size_t)bytes, first * w->page_size + PAGE_HEADER) && check_free_list(w, list, bytes);
    hone__free(list);
    return fine;
}

static bool check_table(walk *w, const uint8_t *data, uint64_t bytes) {
    if (bytes != HONE_TREE_BYTES || w->table_count == TABLES_MAX)
        return no(w, "a table's description is damaged");
    hone__tree tree = hone__tree_read(data);
    if (tree.flags != 0)
        return no(w, "its tables have flags that Hone never sets");
    w->table[w->table_count++] = tree;
    return true;
}

static bool check_leaf_node(walk *w, tree_kind kind, const uint8_t *node, uint64_t room) {
    uint64_t key = get(node + 6, 2), bytes = get(node, 4), flags = get(node + 4, 2);
    if (key == 0 || key > KEY_BYTES_MAX || (kind == TREE_FREE && key != 8))
        return no(w, "a key has a senseless length");
    uint64_t stored = flags == NODE_BIG ? 8 : bytes;
    if (NODE_HEADER + key + stored > room)
        return no(w, "a node leads out of its page");
    const uint8_t *data = node + NODE_HEADER + key;
    if (flags == NODE_BIG)
        return check_big(w, kind, get(data, 8), bytes);
    if (flags == NODE_TABLE && kind == TREE_MAIN)
        return check_table(w, data, bytes);
    if (flags != 0)
        return no(w, "a node has flags that Hone never sets");
    return kind != TREE_FREE || check_free_list(w, data, bytes);
}

/* No two nodes may share bytes: deleting one would move the page's bounds past its end. */
static bool claim_units(walk *w, uint64_t at, uint64_t bytes) {
    for (uint64_t unit = at / 2; unit < (at + bytes + 1) / 2; unit++) {
        uint8_t bit = (uint8_t)(1u << (unit & 7));
        if ((w->units[unit >> 3] & bit) != 0)
            return no(w, "two nodes of a page overlap");
        w->units[unit >> 3] |= bit;
    }
    return true;
}

static bool check_node(walk *w, tree_kind kind, uint64_t at, const step *page, bool is_first) {
    const uint8_t *node = w->page + at;
    uint64_t room = w->page_size - at, key = get(node + 6, 2);
    if (page->level == 1) {
        if (!check_leaf_node(w, kind, node, room))
            return false;
        bool big = get(node + 4, 2) == NODE_BIG;
        return claim_units(w, at, NODE_HEADER + key + (big ? 8 : get(node, 4)));
    }
    if (NODE_HEADER + key > room || key > KEY_BYTES_MAX || (!is_first && key == 0))
        return no(w, "a node leads out of its page");
    uint64_t child = get(node, 4) | get(node + 4, 2) << 32;
    key_copy own = key_of(node);
    /* The first key of a branch page says nothing; the parent's holds. */
    return claim_units(w, at, NODE_HEADER + key) && claim(w, child, 1, true) && push(w, child, page->level - 1, is_first ? &page->least : &own);
}

/* The keys of a page, whose nodes have been checked, ascend, and continue those of the leaves before. */
static bool check_order(walk *w, tree_kind kind, const step *page, uint64_t count) {
    uint64_t first = page->level == 1 ? 0 : 1;
    key_copy before = page->level == 1 ? w->last : page->least;
    for (uint64_t i = first; i < count; i++) {
        key_copy key = key_of(w->page + get(w->page + PAGE_HEADER + 2 * i, 2));
        if (before.bytes > 0 && !is_less(kind, &before, &key))
            return no(w, "keys are out of order");
        before = key;
        if (i == 0 && page->least.bytes > 0 && is_less(kind, &key, &page->least))
            return no(w, "a page has keys below what its parent says");
    }
    if (page->level == 1) {
        if (w->last.bytes > 0 && page->least.bytes > 0 && !is_less(kind, &w->last, &page->least))
            return no(w, "a page has keys above what its parent says");
        w->last = before;
    }
    return true;
}

static bool check_page(walk *w, tree_kind kind, const step at) {
    if (!read_at(w, w->page, w->page_size, at.page * w->page_size))
        return false;
    uint64_t flags = get(w->page + 10, 2), lower = get(w->page + 12, 2), upper = get(w->page + 14, 2);
    if (get(w->page, 8) != at.page || flags != (at.level == 1 ? PAGE_LEAF : PAGE_BRANCH))
        return no(w, "a page is not what its parent says");
    if (lower < PAGE_HEADER || lower % 2 != 0 || lower > upper || upper > w->page_size)
        return no(w, "a page's bounds are senseless");
    uint64_t count = (lower - PAGE_HEADER) / 2, least = at.level == 1 || kind == TREE_FREE ? 1 : 2;
    if (count < least)
        return no(w, "a page has too few nodes");
    memset(w->units, 0, w->page_size / 16 + 1);
    for (uint64_t i = count; i-- > 0;) { /* the first child is to be the next page */
        uint64_t node = get(w->page + PAGE_HEADER + 2 * i, 2);
        if (node < upper || node % 2 != 0 || node + NODE_HEADER > w->page_size)
            return no(w, "a node leads out of its page");
        if (!check_node(w, kind, node, &at, i == 0))
            return false;
    }
    w->entries += at.level == 1 ? count : 0;
    return check_order(w, kind, &at, count);
}

static bool check_tree(walk *w, tree_kind kind, hone__tree tree) {
    if (tree.root == UINT64_MAX)
        return (tree.depth == 0 && tree.entries == 0) || no(w, "a tree has a depth or entries and no root");
    if (tree.depth == 0 || tree.depth > DEPTH_MAX)
        return no(w, "a tree has a senseless depth");
    const key_copy none = {.bytes = 0};
    w->stack_count = 0;
    w->entries = 0;
    w->last = none;
    if (!claim(w, tree.root, 1, true) || !push(w, tree.root, tree.depth, &none))
        return false;
    while (w->stack_count > 0) {
        if (!check_page(w, kind, w->stack[--w->stack_count]))
            return false;
    }
    return w->entries == tree.entries || no(w, "a tree has more or fewer entries than it says");
}

bool hone__file_walk(int fd, const hone__file_meta *meta, uint64_t file_bytes, const char **why) {
    *why = NULL;
    walk w = {.fd = fd, .page_size = meta->page_size, .last_page = meta->last_page};
    w.pages = file_bytes / meta->page_size;
    if (w.pages > meta->last_page + 1)
        w.pages = meta->last_page + 1;
    /* A last page that no map could hold is damage, and must not size an allocation. */
    if (meta->last_page / 2 > file_bytes / meta->page_size + (1u << 20)) {
        *why = "its last page is far beyond its end";
        return false;
    }
    w.used = hone__alloc((size_t)(meta->last_page / 8 + 1));
    w.page = hone__alloc(meta->page_size);
    w.units = hone__alloc(meta->page_size / 16 + 1);
    bool fine = w.used != NULL && w.page != NULL && w.units != NULL;
    /* The main tree first: it names the others, and the free list must be disjoint from them all. */
    fine = fine && check_tree(&w, TREE_MAIN, meta->main);
    for (uint32_t t = 0; fine && t < w.table_count; t++)
        fine = check_tree(&w, TREE_TABLE, w.table[t]);
    fine = fine && check_tree(&w, TREE_FREE, meta->free);
    hone__free(w.used);
    hone__free(w.page);
    hone__free(w.units);
    hone__free(w.stack);
    *why = w.why;
    return fine || w.why == NULL; /* out of memory is no verdict */
}
