/*
 * bundled_model.c - The model that comes with Kronosq, found from where the program lies.
 *
 * Not from the working directory, which a user chooses for other reasons, and not from a path compiled
 * in, which a package or a copied folder would make false.
 */
#include "worker/bundled_model.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* From the folder of the program: $PREFIX/bin and build/release. */
static const char *const places[] = {
    "../share/kronosq/models/" BUNDLED_MODEL_NAME,
    "../../models/" BUNDLED_MODEL_NAME,
};

static bool
is_directory(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int
bundled_model_find(char *model_dir, char *tokenizer_dir, size_t size, struct error *err)
{
    char program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
    char *slash;

    if (len == -1)
        return error_errno(err, "/proc/self/exe");
    program[len] = '\0';
    if ((slash = strrchr(program, '/')) == NULL)
        return error_set(err, ERR_NOT_FOUND, "the program has no folder: %.100s", program);
    *slash = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        int m = snprintf(model_dir, size, "%s/%s/model", program, places[i]);
        int t = snprintf(tokenizer_dir, size, "%s/%s/tokenizer", program, places[i]);

        if (m > 0 && (size_t)m < size && t > 0 && (size_t)t < size && is_directory(model_dir) &&
            is_directory(tokenizer_dir))
            return 0;
    }
    return error_set(err, ERR_NOT_FOUND,
        "no model: give --model DIR (KRONOS_MODEL_PATH), a folder with config.json and "
        "model.safetensors; the bundled " BUNDLED_MODEL_NAME " is neither in %.300s/%s nor in %s",
        program, places[0], places[1]);
}
