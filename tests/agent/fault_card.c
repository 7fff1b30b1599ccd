/* A PKCS#11 module for tests: SoftHSM, with a person or an accident in front of it.

   The folder in CARD_FAULTS holds what is to happen. A file named <what>@<function> acts once,
   when that function is called, and is taken away before:
     full    the card answers CKR_DEVICE_MEMORY           error   CKR_DEVICE_ERROR
     refuse  the call returns the number in the file, as hex, and does nothing
     doubt   the call is carried out, and returns the number in the file all the same
     stop    the process stops itself (SIGSTOP) before the call, until somebody continues it
     move    each pair of lines names a directory to rename (a card is pulled, another put in)
     die     the process is killed before the call        died    ... after the call
     hang    the call does not return
   "flags" is or-ed into the token's flags, as hex. "pinpad" holds the PIN typed at the reader.
   "logins" gets one letter per C_Login: p with a PIN, n without. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long ul;
typedef ul (*call)(ul, ul, ul, ul, ul, ul, ul, ul);
struct list { unsigned char version[8]; void *at[68]; };
struct token_info { unsigned char texts[96]; ul flags; };

enum { FINALIZE = 1, TOKEN_INFO = 6, LOGIN = 18, CREATE = 20, DESTROY = 22, SIGN = 43, GENERATE = 59 };
enum { DEVICE_ERROR = 0x30, DEVICE_MEMORY = 0x31 };

static struct list real, ours;

static void named(char *path, const char *what, const char *function)
{
    snprintf(path, 4096, "%s/%s%s%s", getenv("CARD_FAULTS"), what, *function ? "@" : "", function);
}

static int happens(const char *what, const char *function)
{
    char path[4096];
    named(path, what, function);
    return unlink(path) == 0;
}

/* Return the number in a file that is taken away, or else 0. */
static ul number_in(const char *what, const char *function)
{
    char path[4096];
    ul number = 0;
    named(path, what, function);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    unlink(path);
    if (fscanf(file, "%lx", &number) != 1)
        number = DEVICE_ERROR;
    fclose(file);
    return number;
}

static void move_cards(const char *function)
{
    char path[4096], from[4096], to[4096];
    named(path, "move", function);
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    unlink(path);
    while (fgets(from, sizeof from, file) && fgets(to, sizeof to, file)) {
        from[strcspn(from, "\n")] = to[strcspn(to, "\n")] = 0;
        rename(from, to);
    }
    fclose(file);
}

static ul through(int number, const char *function, ul a, ul b, ul c, ul d, ul e, ul f, ul g, ul h)
{
    move_cards(function);
    if (happens("die", function))
        kill(getpid(), SIGKILL);
    while (happens("hang", function))
        for (;;)
            pause();
    if (happens("stop", function))
        raise(SIGSTOP);
    if (happens("full", function))
        return DEVICE_MEMORY;
    if (happens("error", function))
        return DEVICE_ERROR;
    ul refused = number_in("refuse", function), doubtful = number_in("doubt", function);
    if (refused)
        return refused;
    ul answer = ((call)real.at[number])(a, b, c, d, e, f, g, h);
    if (happens("died", function))
        kill(getpid(), SIGKILL);
    return doubtful ? doubtful : answer;
}

#define FUNCTION(name, number)                                                    \
    static ul name(ul a, ul b, ul c, ul d, ul e, ul f, ul g, ul h)                \
    {                                                                             \
        return through(number, #name, a, b, c, d, e, f, g, h);                    \
    }
FUNCTION(C_Finalize, FINALIZE)
FUNCTION(C_CreateObject, CREATE)
FUNCTION(C_DestroyObject, DESTROY)
FUNCTION(C_Sign, SIGN)
FUNCTION(C_GenerateKeyPair, GENERATE)

static ul C_Login(ul session, ul user, ul pin, ul length)
{
    char path[4096], typed[256] = "";
    named(path, "logins", "");
    FILE *logins = fopen(path, "a");
    fputc(pin ? 'p' : 'n', logins);
    fclose(logins);
    named(path, "pinpad", "");
    FILE *pinpad = pin ? NULL : fopen(path, "r");
    if (pinpad) {
        length = fread(typed, 1, sizeof typed, pinpad);
        fclose(pinpad);
        pin = (ul)typed;
    }
    return through(LOGIN, "C_Login", session, user, pin, length, 0, 0, 0, 0);
}

static ul C_GetTokenInfo(ul slot, struct token_info *info)
{
    ul answer = ((call)real.at[TOKEN_INFO])(slot, (ul)info, 0, 0, 0, 0, 0, 0);
    char path[4096];
    ul flags = 0;
    named(path, "flags", "");
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%lx", &flags) == 1)
            info->flags |= flags;
        fclose(file);
    }
    return answer;
}

ul C_GetFunctionList(struct list **answer)
{
    struct list *theirs;
    void *softhsm = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    ((ul (*)(struct list **))dlsym(softhsm, "C_GetFunctionList"))(&theirs);
    real = ours = *theirs;
    ours.at[FINALIZE] = C_Finalize;
    ours.at[TOKEN_INFO] = C_GetTokenInfo;
    ours.at[LOGIN] = C_Login;
    ours.at[CREATE] = C_CreateObject;
    ours.at[DESTROY] = C_DestroyObject;
    ours.at[SIGN] = C_Sign;
    ours.at[GENERATE] = C_GenerateKeyPair;
    *answer = &ours;
    return 0;
}
