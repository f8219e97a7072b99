/* llm_config.c: which provider, model, address and key: from options, then from the environment.  Everything is checked here, before
 * anything is sent. */
#include "alloc.h"
#include "file.h"
#include "llm_impl.h"
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    hone__provider provider;
} provider_names[] = {
    {"none", HONE_PROVIDER_NONE},           {"openai", HONE_PROVIDER_OPENAI},       {"chat", HONE_PROVIDER_CHAT},
    {"anthropic", HONE_PROVIDER_ANTHROPIC}, {"command", HONE_PROVIDER_COMMAND},     {"mailbox", HONE_PROVIDER_MAILBOX},
    {"replay", HONE_PROVIDER_REPLAY},       {"openai-responses", HONE_PROVIDER_OPENAI}, {"openai-chat", HONE_PROVIDER_CHAT},
};
enum { PROVIDER_NAMES = sizeof provider_names / sizeof provider_names[0] };

const char *hone__provider_name(hone__provider provider) {
    for (size_t i = 0; i < PROVIDER_NAMES; i++) {
        if (provider_names[i].provider == provider)
            return provider_names[i].name;
    }
    return "unknown";
}

static bool starts(const char *text, const char *prefix) {
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

/* The provider that a model's name belongs to, or NONE. */
static hone__provider provider_of_model(const char *model) {
    static const char *const openai[] = {"gpt-", "gpt5", "gpt4", "chatgpt", "codex", "o1", "o3", "o4"};
    if (starts(model, "claude"))
        return HONE_PROVIDER_ANTHROPIC;
    for (size_t i = 0; i < sizeof openai / sizeof openai[0]; i++) {
        /* "gpt-oss" is served by everyone but OpenAI. */
        if (starts(model, openai[i]) && !starts(model, "gpt-oss"))
            return HONE_PROVIDER_OPENAI;
    }
    return HONE_PROVIDER_NONE;
}

/* Settings as they were given, before they are judged.  Borrowed. */
typedef struct given {
    const char *provider, *model, *api_base, *command, *mailbox, *replay;
    bool from_options;
} given;

static const char *set_or_null(const char *text) {
    return text == NULL || text[0] == '\0' ? NULL : text;
}

static const char *environment(const char *name) {
    return set_or_null(getenv(name));
}

static bool names_a_source(const given *g) {
    return g->provider != NULL || g->model != NULL || g->api_base != NULL || g->command != NULL || g->mailbox != NULL || g->replay != NULL;
}

/* Options win as a whole where they say where answers come from; single gaps are filled from the environment. */
static given gather(const hone__llm_options *options) {
    given g = {set_or_null(options->provider), set_or_null(options->model),   set_or_null(options->api_base),
               set_or_null(options->command),  set_or_null(options->mailbox), set_or_null(options->replay), true};
    given env = {environment("HONE_LLM_PROVIDER"), environment("HONE_LLM_MODEL"),   environment("HONE_LLM_API_BASE"),
                 environment("HONE_LLM_COMMAND"),  environment("HONE_LLM_MAILBOX"), NULL, false};
    if (!names_a_source(&g))
        return env;
    bool elsewhere = g.command != NULL || g.mailbox != NULL || g.replay != NULL;
    if (g.provider == NULL && !elsewhere && env.command == NULL && env.mailbox == NULL)
        g.provider = env.provider;
    if (g.model == NULL)
        g.model = env.model;
    if (g.api_base == NULL && !elsewhere)
        g.api_base = env.api_base;
    if (g.provider != NULL && g.command == NULL)
        g.command = env.command;
    if (g.provider != NULL && g.mailbox == NULL)
        g.mailbox = env.mailbox;
    return g;
}

static bool path_ends(const char *base, const char *end) {
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/')
        length--;
    size_t tail = strlen(end);
    return length >= tail && memcmp(base + length - tail, end, tail) == 0;
}

/* The provider that a base URL names by its endpoint or its host. */
static hone__provider provider_of_base(const char *base) {
    if (path_ends(base, "/chat/completions"))
        return HONE_PROVIDER_CHAT;
    if (path_ends(base, "/responses"))
        return HONE_PROVIDER_OPENAI;
    if (path_ends(base, "/messages") || starts(base, "https://api.anthropic.com"))
        return HONE_PROVIDER_ANTHROPIC;
    return starts(base, "https://api.openai.com") ? HONE_PROVIDER_OPENAI : HONE_PROVIDER_NONE;
}

static hone_status infer(const given *g, hone__provider *provider, hone_error *err) {
    int folders = (g->command != NULL) + (g->mailbox != NULL) + (g->replay != NULL);
    if (folders > 1)
        return hone__fail(err, HONE_E_ARG, "llm", "more than one of model command, mailbox and replay is set; set one, or name the provider");
    if (folders == 1) {
        *provider = g->command != NULL ? HONE_PROVIDER_COMMAND : g->mailbox != NULL ? HONE_PROVIDER_MAILBOX : HONE_PROVIDER_REPLAY;
        return HONE_OK;
    }
    if (g->api_base != NULL)
        *provider = provider_of_base(g->api_base);
    if (*provider == HONE_PROVIDER_NONE && g->model != NULL)
        *provider = provider_of_model(g->model);
    if (*provider == HONE_PROVIDER_NONE && g->api_base != NULL)
        *provider = HONE_PROVIDER_CHAT;
    if (*provider == HONE_PROVIDER_NONE && g->model != NULL)
        return hone__fail(err, HONE_E_ARG, "llm",
                          "cannot tell who serves the model \"%.100s\"; set HONE_LLM_PROVIDER to openai, chat or anthropic", g->model);
    if (*provider == HONE_PROVIDER_NONE)
        *provider = environment("OPENAI_API_KEY") != NULL      ? HONE_PROVIDER_OPENAI
                    : environment("ANTHROPIC_API_KEY") != NULL ? HONE_PROVIDER_ANTHROPIC
                                                               : HONE_PROVIDER_NONE;
    if (*provider == HONE_PROVIDER_NONE && (environment("HONE_LLM_API_KEY") != NULL || environment("HONE_LLM_API_KEY_FILE") != NULL))
        return hone__fail(err, HONE_E_ARG, "llm", "a model key is set but no provider; set HONE_LLM_PROVIDER to openai, chat or anthropic");
    return HONE_OK;
}

static hone_status choose(const given *g, hone__provider *provider, hone_error *err) {
    *provider = HONE_PROVIDER_NONE;
    if (g->provider == NULL)
        return infer(g, provider, err);
    for (size_t i = 0; i < PROVIDER_NAMES; i++) {
        if (strcasecmp(provider_names[i].name, g->provider) == 0) {
            *provider = provider_names[i].provider;
            return HONE_OK;
        }
    }
    return hone__fail(err, HONE_E_ARG, "llm",
                      "unknown model provider \"%.60s\"; it is one of openai, chat, anthropic, command, mailbox, replay, none", g->provider);
}

static bool header_safe(const char *text) {
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x21 || (unsigned char)*c > 0x7e)
            return false;
    }
    return true;
}

static hone_status copy(char **to, const char *text, hone_error *err) {
    *to = hone__strdup(text);
    return *to != NULL ? HONE_OK : hone__fail(err, HONE_E_NOMEM, "llm", "no memory for the model's settings");
}

/* A file that must be there, and for a private one ours alone. */
static hone_status check_file(const char *path, const char *what, bool private_file, hone_error *err) {
    struct stat info;
    if (stat(path, &info) != 0)
        return hone__fail_os(err, HONE_E_ARG, "llm", errno, "%s %.200s: %s", what, path, strerror(errno));
    if (!S_ISREG(info.st_mode) || access(path, R_OK) != 0)
        return hone__fail(err, HONE_E_ARG, "llm", "%s %.200s is not a readable file", what, path);
    if (private_file && ((info.st_mode & 077) != 0 || (info.st_uid != geteuid() && info.st_uid != 0)))
        return hone__fail(err, HONE_E_ARG, "llm", "%s %.200s can be read by others; run chmod 600 on it", what, path);
    return HONE_OK;
}

static hone_status key_from_file(char **key, hone_error *err) {
    const char *path = environment("HONE_LLM_API_KEY_FILE");
    HONE_TRY(check_file(path, "HONE_LLM_API_KEY_FILE", true, err));
    size_t bytes = 0;
    char *text = NULL;
    HONE_TRY(hone__file_read(path, HONE_LLM_VALUE_BYTES + 2, &text, &bytes, err));
    while (bytes > 0 && (text[bytes - 1] == '\n' || text[bytes - 1] == '\r' || text[bytes - 1] == ' '))
        text[--bytes] = '\0';
    *key = text;
    if (bytes == 0)
        return hone__fail(err, HONE_E_ARG, "llm", "HONE_LLM_API_KEY_FILE %.200s is empty", path);
    return HONE_OK;
}

/* The key of the provider's own variable; for "chat" OpenAI's, but only where it cannot reach a stranger. */
static const char *own_key(const hone__llm_config *config) {
    if (config->provider == HONE_PROVIDER_ANTHROPIC)
        return environment("ANTHROPIC_API_KEY");
    if (config->provider == HONE_PROVIDER_OPENAI || config->loopback || strcmp(config->origin, "api.openai.com") == 0)
        return environment("OPENAI_API_KEY");
    return NULL;
}

static hone_status find_key(hone__llm_config *config, hone_error *err) {
    const char *from = environment("HONE_LLM_API_KEY");
    if (from == NULL && environment("HONE_LLM_API_KEY_FILE") != NULL) {
        HONE_TRY(key_from_file(&config->key, err));
    } else {
        if (from == NULL)
            from = own_key(config);
        if (from != NULL)
            HONE_TRY(copy(&config->key, from, err));
    }
    if (config->key == NULL) {
        if (config->provider == HONE_PROVIDER_CHAT || config->loopback)
            return HONE_OK;
        return hone__fail(err, HONE_E_ARG, "llm", "the %s provider needs a key; set %s, HONE_LLM_API_KEY or HONE_LLM_API_KEY_FILE",
                          hone__provider_name(config->provider),
                          config->provider == HONE_PROVIDER_OPENAI ? "OPENAI_API_KEY" : "ANTHROPIC_API_KEY");
    }
    if (strlen(config->key) > HONE_LLM_VALUE_BYTES || !header_safe(config->key))
        return hone__fail(err, HONE_E_ARG, "llm", "the model key is too long or has blanks, control or non-ASCII characters in it");
    hone__secret_add(config->key);
    return HONE_OK;
}

static hone_status find_tls_files(hone__llm_config *config, hone_error *err) {
    const char *bundle = environment("HONE_LLM_CA_BUNDLE");
    const char *cert = environment("HONE_LLM_CLIENT_CERT");
    const char *key = environment("HONE_LLM_CLIENT_KEY");
    if (bundle != NULL) {
        HONE_TRY(check_file(bundle, "HONE_LLM_CA_BUNDLE", false, err));
        HONE_TRY(copy(&config->ca_bundle, bundle, err));
    }
    if (key != NULL && cert == NULL)
        return hone__fail(err, HONE_E_ARG, "llm", "HONE_LLM_CLIENT_KEY is set without HONE_LLM_CLIENT_CERT");
    if (cert != NULL) {
        /* Alone, the certificate's file holds the key as well. */
        HONE_TRY(check_file(cert, key == NULL ? "HONE_LLM_CLIENT_CERT, which holds the key too as HONE_LLM_CLIENT_KEY is not set," : "HONE_LLM_CLIENT_CERT",
                            key == NULL, err));
        HONE_TRY(copy(&config->client_cert, cert, err));
        if (key != NULL)
            HONE_TRY(check_file(key, "HONE_LLM_CLIENT_KEY", true, err));
        HONE_TRY(copy(&config->client_key, key != NULL ? key : cert, err));
    }
    return HONE_OK;
}

static hone_status configure_http(hone__llm_config *config, const given *g, hone_error *err) {
    const hone__provider_api *api = hone__provider_api_of(config->provider);
    const char *base = g->api_base;
    if (base == NULL && config->provider != HONE_PROVIDER_CHAT) {
        base = environment(config->provider == HONE_PROVIDER_OPENAI ? "OPENAI_BASE_URL" : "ANTHROPIC_BASE_URL");
        if (base == NULL)
            base = api->base;
    }
    if (base == NULL)
        return hone__fail(err, HONE_E_ARG, "llm", "the chat provider needs an address; set HONE_LLM_API_BASE, e.g. http://localhost:8000/v1");
    hone__provider by_path = path_ends(base, "/responses")          ? HONE_PROVIDER_OPENAI
                             : path_ends(base, "/chat/completions") ? HONE_PROVIDER_CHAT
                             : path_ends(base, "/messages")         ? HONE_PROVIDER_ANTHROPIC
                                                                    : config->provider;
    if (by_path != config->provider)
        return hone__fail(err, HONE_E_ARG, "llm", "the model's base URL ends in the endpoint of %s, but the provider is %s",
                          hone__provider_name(by_path), api->name);
    HONE_TRY(hone__llm_url(base, api->endpoint, &config->url, &config->origin, &config->loopback, err));
    const char *model = g->model;
    if (model == NULL && config->provider == HONE_PROVIDER_OPENAI)
        model = HONE_LLM_MODEL_OPENAI;
    if (model == NULL && config->provider == HONE_PROVIDER_ANTHROPIC)
        model = HONE_LLM_MODEL_ANTHROPIC;
    if (model == NULL)
        return hone__fail(err, HONE_E_ARG, "llm", "the chat provider needs a model; set HONE_LLM_MODEL to a name that %.100s serves",
                          config->origin);
    HONE_TRY(copy(&config->model, model, err));
    HONE_TRY(find_key(config, err));
    return find_tls_files(config, err);
}

static hone_status configure_local(hone__llm_config *config, const given *g, hone_error *err) {
    switch (config->provider) {
    case HONE_PROVIDER_COMMAND:
        if (g->command == NULL)
            return hone__fail(err, HONE_E_ARG, "llm", "the command provider needs a command line; set HONE_LLM_COMMAND");
        HONE_TRY(copy(&config->command, g->command, err));
        break;
    case HONE_PROVIDER_MAILBOX:
        if (g->mailbox == NULL)
            return hone__fail(err, HONE_E_ARG, "llm", "the mailbox provider needs a folder; set HONE_LLM_MAILBOX");
        HONE_TRY(copy(&config->mailbox, g->mailbox, err));
        break;
    case HONE_PROVIDER_REPLAY:
        if (g->replay == NULL)
            return hone__fail(err, HONE_E_ARG, "llm", "the replay provider needs a transcript file");
        HONE_TRY(copy(&config->replay, g->replay, err));
        break;
    default:
        break;
    }
    return copy(&config->model, g->model != NULL ? g->model : "", err);
}

static hone_status configure(hone__llm_config *config, const hone__llm_options *options, hone_error *err) {
    given g = gather(options);
    HONE_TRY(choose(&g, &config->provider, err));
    if (g.model != NULL && (strlen(g.model) > HONE_LLM_ERROR_BYTES || !header_safe(g.model)))
        return hone__fail(err, HONE_E_ARG, "llm", "the model's name is too long or has blanks, control or non-ASCII characters in it");
    config->timeout_s = options->timeout_s != 0                              ? options->timeout_s
                        : config->provider == HONE_PROVIDER_MAILBOX ? HONE_LLM_TIMEOUT_MAILBOX_S
                                                                             : HONE_LLM_TIMEOUT_S;
    config->output_tokens_max = options->output_tokens_max != 0 ? options->output_tokens_max : HONE_LLM_OUTPUT_TOKENS;
    config->tokens_max = options->tokens_max;
    if (hone__provider_api_of(config->provider) != NULL)
        return configure_http(config, &g, err);
    return configure_local(config, &g, err);
}

/* A command may print the keys that it finds in the environment as well as we can. */
static void register_secrets(void) {
    static const char *const names[] = {"HONE_LLM_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *secret = environment(names[i]);
        if (secret != NULL)
            hone__secret_add(secret);
    }
}

hone_status hone__llm_configure(hone__llm_config *config, const hone__llm_options *options, hone_error *err) {
    static const hone__llm_options none;
    register_secrets();
    *config = (hone__llm_config){.provider = HONE_PROVIDER_NONE};
    hone_status status = configure(config, options != NULL ? options : &none, err);
    if (status != HONE_OK)
        hone__llm_config_clear(config);
    return status;
}

void hone__llm_config_clear(hone__llm_config *config) {
    if (config->key != NULL)
        explicit_bzero(config->key, strlen(config->key));
    char *const strings[] = {config->model,       config->url,        config->origin,  config->key,     config->ca_bundle,
                             config->client_cert, config->client_key, config->command, config->mailbox, config->replay};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        hone__free(strings[i]);
    *config = (hone__llm_config){.provider = HONE_PROVIDER_NONE};
}
