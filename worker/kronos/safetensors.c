/*
 * safetensors.c - A weight file in memory: where each tensor lies, all of it checked.
 *
 * The header comes from whoever made the file. Nothing of it is used before it was
 * compared with the size of the file; products are checked before they are formed. The
 * mapping stays valid while the file keeps its length: new weights arrive by rename,
 * never written over the old file.
 */
#include "worker/kronos/safetensors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker/kronos/json_file.h"
#include "worker/kronos/regular_file.h"

/*
 * A header of the largest model the limits of model.h allow has about 110 KiB. cJSON
 * turns two bytes into a node of 64, so this bound is also one of 40 MB of memory.
 */
#define HEADER_BYTES_MAX ((uint64_t)1024 * 1024)
#define LENGTH_BYTES     8
#define NAME_SHOWN       80 /* bytes of a foreign name in an error text */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weights are used in place");
_Static_assert(sizeof(size_t) >= 8, "offsets of weight files need 64 bits");

/* The text leads with the tensor, for a long path may be cut off at the end. */
static int __attribute__((format(printf, 3, 4)))
refuse(const struct safetensors *file, struct error *err, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return error_set(err, ERR_CORRUPT, "%s, in %s", text, file->path);
}

/* Copy a foreign word for an error text or for later: cut, and without control characters. */
static void
copy_printable(char *out, size_t out_bytes, const char *text)
{
    size_t n = 0;

    for (; n + 1 < out_bytes && text[n] != '\0'; n++)
        out[n] = (text[n] >= ' ' && text[n] <= '~') ? text[n] : '?';
    out[n] = '\0';
}

void
tensor_format_shape(const uint64_t *shape, uint32_t n_dims, char text[TENSOR_SHAPE_MAX])
{
    size_t used = 0;

    /* 8 dimensions of 20 digits and ", ": 178 bytes at most */
    used += (size_t)snprintf(text, TENSOR_SHAPE_MAX, "[");
    for (uint32_t i = 0; i < n_dims; i++)
        used += (size_t)snprintf(text + used, TENSOR_SHAPE_MAX - used, "%s%llu", i > 0 ? ", " : "",
            (unsigned long long)shape[i]);
    snprintf(text + used, TENSOR_SHAPE_MAX - used, "]");
}

/* Bytes per element, 0 for a type this program does not know. */
static uint64_t
element_bytes(const char *type)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } types[] = {{"F64", 8}, {"I64", 8}, {"U64", 8}, {"F32", 4}, {"I32", 4}, {"U32", 4}, {"F16", 2},
        {"BF16", 2}, {"I16", 2}, {"U16", 2}, {"I8", 1}, {"U8", 1}, {"BOOL", 1}, {"F8_E4M3", 1},
        {"F8_E5M2", 1}};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, type) == 0)
            return types[i].bytes;
    }
    return 0;
}

static enum tensor_type
tensor_type_find(const char *type)
{
    if (strcmp(type, "F32") == 0)
        return TENSOR_F32;
    if (strcmp(type, "F16") == 0)
        return TENSOR_F16;
    if (strcmp(type, "BF16") == 0)
        return TENSOR_BF16;
    return TENSOR_OTHER;
}

static int
parse_shape(const struct safetensors *file, struct tensor *t, const cJSON *shape, struct error *err)
{
    const cJSON *item;

    if (!cJSON_IsArray(shape))
        return refuse(file, err, "tensor %.*s has no shape", NAME_SHOWN, t->name);
    cJSON_ArrayForEach(item, shape)
    {
        if (t->n_dims == TENSOR_DIMS_MAX)
            return refuse(file, err, "tensor %.*s has more than %d dimensions", NAME_SHOWN, t->name,
                TENSOR_DIMS_MAX);
        if (json_file_size(item, &t->shape[t->n_dims]) == -1)
            return refuse(file, err, "tensor %.*s: dimension %u of its shape is no size",
                NAME_SHOWN, t->name, t->n_dims);
        t->n_dims++;
    }
    return 0;
}

static int
parse_offsets(const struct safetensors *file, struct tensor *t, const cJSON *offsets,
    uint64_t data_bytes, struct error *err)
{
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        json_file_size(cJSON_GetArrayItem(offsets, 0), &t->begin) == -1 ||
        json_file_size(cJSON_GetArrayItem(offsets, 1), &t->end) == -1)
        return refuse(
            file, err, "tensor %.*s: data_offsets must be two sizes", NAME_SHOWN, t->name);
    if (t->begin > t->end)
        return refuse(file, err, "tensor %.*s: data_offsets [%llu, %llu] run backwards", NAME_SHOWN,
            t->name, (unsigned long long)t->begin, (unsigned long long)t->end);
    if (t->end > data_bytes)
        return refuse(file, err, "tensor %.*s ends at byte %llu of the data, the file holds %llu",
            NAME_SHOWN, t->name, (unsigned long long)t->end, (unsigned long long)data_bytes);
    return 0;
}

static int
check_bytes(
    const struct safetensors *file, const struct tensor *t, uint64_t bytes_each, struct error *err)
{
    char shape[TENSOR_SHAPE_MAX];
    uint64_t bytes = bytes_each;

    tensor_format_shape(t->shape, t->n_dims, shape);
    for (uint32_t i = 0; i < t->n_dims; i++) {
        if (__builtin_mul_overflow(bytes, t->shape[i], &bytes))
            return refuse(
                file, err, "tensor %.*s: shape %.90s is too large", NAME_SHOWN, t->name, shape);
    }
    if (bytes != t->end - t->begin)
        return refuse(file, err, "tensor %.*s: %s %.90s needs %llu bytes, data_offsets give %llu",
            NAME_SHOWN, t->name, t->type_name, shape, (unsigned long long)bytes,
            (unsigned long long)(t->end - t->begin));
    return 0;
}

/* One entry of the header. ${t} is zero; what it owns is freed by safetensors_close(). */
static int
parse_tensor(const struct safetensors *file, struct tensor *t, const cJSON *entry,
    uint64_t data_bytes, struct error *err)
{
    char name[TENSOR_NAME_MAX];
    const cJSON *type;
    uint64_t bytes_each;

    copy_printable(name, sizeof(name), entry->string);
    if (strlen(entry->string) >= sizeof(name))
        return refuse(
            file, err, "tensor %.*s...: its name is over %zu bytes", 40, name, sizeof(name) - 1);
    if ((t->name = strdup(name)) == NULL)
        return error_set(err, ERR_MEMORY, "out of memory for the header of %s", file->path);
    if (!cJSON_IsObject(entry))
        return refuse(file, err, "tensor %.*s is no object", NAME_SHOWN, t->name);

    type = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    if (!cJSON_IsString(type))
        return refuse(file, err, "tensor %.*s has no dtype", NAME_SHOWN, t->name);
    copy_printable(t->type_name, sizeof(t->type_name), type->valuestring);
    t->type = tensor_type_find(type->valuestring);
    bytes_each = element_bytes(type->valuestring);

    if (parse_shape(file, t, cJSON_GetObjectItemCaseSensitive(entry, "shape"), err) == -1 ||
        parse_offsets(file, t, cJSON_GetObjectItemCaseSensitive(entry, "data_offsets"), data_bytes,
            err) == -1)
        return -1;
    return bytes_each > 0 ? check_bytes(file, t, bytes_each, err) : 0;
}

static int
compare_begin(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int
compare_name(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

/* Two names for the same bytes would make one mistake look like two good tensors. */
static int
check_overlaps(struct safetensors *file, struct error *err)
{
    const struct tensor *last = NULL;

    qsort(file->tensors, file->n_tensors, sizeof(*file->tensors), compare_begin);
    for (size_t i = 0; i < file->n_tensors; i++) {
        const struct tensor *t = &file->tensors[i];

        if (t->begin == t->end)
            continue;
        if (last != NULL && t->begin < last->end)
            return refuse(file, err, "tensors %.60s and %.60s overlap", last->name, t->name);
        last = t;
    }
    return 0;
}

static int
parse_header(struct safetensors *file, const char *text, size_t length, struct error *err)
{
    uint64_t data_bytes = file->size_bytes - LENGTH_BYTES - length;
    struct error why;
    const cJSON *entry;
    cJSON *root;
    size_t n = 0;
    int status = -1;

    if ((root = json_file_parse(text, length, &why)) == NULL)
        return error_set(err, why.code == ERR_MEMORY ? ERR_MEMORY : ERR_CORRUPT,
            "the header is %s, in %s", why.text, file->path);
    cJSON_ArrayForEach(entry, root) n++;
    if ((file->tensors = calloc(n + 1, sizeof(*file->tensors))) == NULL) {
        error_set(err, ERR_MEMORY, "out of memory for the header of %s", file->path);
        goto free_root;
    }
    cJSON_ArrayForEach(entry, root)
    {
        if (strcmp(entry->string, "__metadata__") == 0)
            continue;
        /* counted first, so that a refused one is freed with the others */
        if (parse_tensor(file, &file->tensors[file->n_tensors++], entry, data_bytes, err) == -1)
            goto free_root;
    }
    if (check_overlaps(file, err) == -1)
        goto free_root;
    qsort(file->tensors, file->n_tensors, sizeof(*file->tensors), compare_name);
    file->data = file->base + LENGTH_BYTES + length;
    status = 0;

free_root:
    cJSON_Delete(root);
    return status;
}

/* ${file} is mapped; what fails here is undone by safetensors_close(). */
static int
read_header(struct safetensors *file, struct error *err)
{
    uint64_t length;

    memcpy(&length, file->base, sizeof(length));
    if (length > HEADER_BYTES_MAX)
        return refuse(file, err, "the header claims %llu bytes, the limit is %llu",
            (unsigned long long)length, (unsigned long long)HEADER_BYTES_MAX);
    if (length > file->size_bytes - LENGTH_BYTES)
        return refuse(file, err, "the header claims %llu bytes, the file has %zu",
            (unsigned long long)length, file->size_bytes);
    return parse_header(file, (const char *)file->base + LENGTH_BYTES, (size_t)length, err);
}

int
safetensors_open(struct safetensors *file, const char *path, struct error *err)
{
    void *base;
    int fd;

    *file = (struct safetensors){0};
    if ((fd = regular_file_open(path, &file->size_bytes, err)) == -1)
        return -1;
    if ((file->path = strdup(path)) == NULL) {
        error_set(err, ERR_MEMORY, "out of memory for %s", path);
        goto close_file;
    }
    if (file->size_bytes < LENGTH_BYTES) {
        refuse(file, err, "%zu bytes are no weight file", file->size_bytes);
        goto close_file;
    }
    base = mmap(NULL, file->size_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (base == MAP_FAILED) {
        error_errno(err, "map %s", path);
        goto close_file;
    }
    file->base = base;
    /* read ahead while the header is parsed; only a hint, so its result does not matter */
    (void)madvise(base, file->size_bytes, MADV_WILLNEED);
    if (read_header(file, err) == -1)
        goto close_file;
    close(fd); /* the mapping keeps the file alive */
    return 0;

close_file:
    close(fd);
    safetensors_close(file);
    return -1;
}

void
safetensors_close(struct safetensors *file)
{
    if (file->base != NULL)
        munmap(file->base, file->size_bytes);
    for (size_t i = 0; i < file->n_tensors; i++)
        free(file->tensors[i].name);
    free(file->tensors);
    free(file->path);
    *file = (struct safetensors){0};
}

const struct tensor *
safetensors_find(const struct safetensors *file, const char *name)
{
    struct tensor key = {.name = (char *)name};

    if (file->n_tensors == 0)
        return NULL;
    return bsearch(&key, file->tensors, file->n_tensors, sizeof(*file->tensors), compare_name);
}
