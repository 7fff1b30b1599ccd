/* A PKCS#11 module that is SoftHSM, except for one call.

   Beside the path under which it was loaded, "<path>.order" may hold one line

       <function> <n> <effect> <number>

   At the n-th call of the function (PKCS#11 v2.40, 5) in this process the effect takes place:
     before  the call does not reach SoftHSM and returns the number
     after   the call is carried out, and returns the number all the same
     die     the process is killed before the call
     died    ... after it
     torn    ... within it, at the moment when a file that SoftHSM writes passes <number> bytes
     room    no file that SoftHSM writes during the call may grow past <number> bytes (EFBIG)
   The order is taken away when it is carried out. "<path>.calls" gets one line per
   call, with the process. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

typedef unsigned long ul;
typedef ul (*call)(ul, ul, ul, ul, ul, ul, ul, ul);

/* In the order of CK_FUNCTION_LIST. */
#define FUNCTIONS(X)                                                                              \
    X(0, C_Initialize) X(1, C_Finalize) X(2, C_GetInfo) X(4, C_GetSlotList) X(5, C_GetSlotInfo)   \
    X(6, C_GetTokenInfo) X(7, C_GetMechanismList) X(8, C_GetMechanismInfo) X(9, C_InitToken)      \
    X(10, C_InitPIN) X(11, C_SetPIN) X(12, C_OpenSession) X(13, C_CloseSession)                   \
    X(14, C_CloseAllSessions) X(15, C_GetSessionInfo) X(16, C_GetOperationState)                  \
    X(17, C_SetOperationState) X(18, C_Login) X(19, C_Logout) X(20, C_CreateObject)               \
    X(21, C_CopyObject) X(22, C_DestroyObject) X(23, C_GetObjectSize) X(24, C_GetAttributeValue)  \
    X(25, C_SetAttributeValue) X(26, C_FindObjectsInit) X(27, C_FindObjects)                      \
    X(28, C_FindObjectsFinal) X(29, C_EncryptInit) X(30, C_Encrypt) X(31, C_EncryptUpdate)        \
    X(32, C_EncryptFinal) X(33, C_DecryptInit) X(34, C_Decrypt) X(35, C_DecryptUpdate)            \
    X(36, C_DecryptFinal) X(37, C_DigestInit) X(38, C_Digest) X(39, C_DigestUpdate)               \
    X(40, C_DigestKey) X(41, C_DigestFinal) X(42, C_SignInit) X(43, C_Sign) X(44, C_SignUpdate)   \
    X(45, C_SignFinal) X(46, C_SignRecoverInit) X(47, C_SignRecover) X(48, C_VerifyInit)          \
    X(49, C_Verify) X(50, C_VerifyUpdate) X(51, C_VerifyFinal) X(52, C_VerifyRecoverInit)         \
    X(53, C_VerifyRecover) X(54, C_DigestEncryptUpdate) X(55, C_DecryptDigestUpdate)              \
    X(56, C_SignEncryptUpdate) X(57, C_DecryptVerifyUpdate) X(58, C_GenerateKey)                  \
    X(59, C_GenerateKeyPair) X(60, C_WrapKey) X(61, C_UnwrapKey) X(62, C_DeriveKey)               \
    X(63, C_SeedRandom) X(64, C_GenerateRandom) X(65, C_GetFunctionStatus)                        \
    X(66, C_CancelFunction) X(67, C_WaitForSlotEvent)

struct list { unsigned char version[8]; void *at[68]; };

static struct list real, ours;
static char beside[4096];
static int calls_made[68];

static const char *path_of(const char *what)
{
    static char path[4200];
    snprintf(path, sizeof path, "%s.%s", beside, what);
    return path;
}

static void note(const char *function)
{
    char line[64];
    int length = snprintf(line, sizeof line, "%s %d\n", function, getpid());
    int file = open(path_of("calls"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (write(file, line, length) != length)
        abort();
    close(file);
}

/* Return the effect that is ordered for this very call, and its number; else an empty text. */
static const char *ordered(int number, const char *function, ul *value)
{
    static char named[64], effect[16];
    int n = 0;
    FILE *file = fopen(path_of("order"), "r");
    if (!file)
        return "";
    int read = fscanf(file, "%63s %d %15s %lx", named, &n, effect, value);
    fclose(file);
    if (read != 4 || strcmp(named, function) || n != calls_made[number])
        return "";
    unlink(path_of("order"));
    return effect;
}

static void files_end_at(ul bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static ul through(int number, const char *function, ul a, ul b, ul c, ul d, ul e, ul f, ul g, ul h)
{
    ul value = 0;
    calls_made[number]++;
    note(function);
    const char *effect = ordered(number, function, &value);
    int torn = !strcmp(effect, "torn"), room = !strcmp(effect, "room");
    if (!strcmp(effect, "before"))
        return value;
    if (!strcmp(effect, "die"))
        kill(getpid(), SIGKILL);
    if (torn || room) {
        signal(SIGXFSZ, torn ? SIG_DFL : SIG_IGN);
        files_end_at(value);
    }
    ul answer = ((call)real.at[number])(a, b, c, d, e, f, g, h);
    if (torn || room)
        files_end_at(RLIM_INFINITY);
    if (!strcmp(effect, "died"))
        kill(getpid(), SIGKILL);
    return strcmp(effect, "after") ? answer : value;
}

#define WRAPPED(number, name)                                                                     \
    static ul wrapped_##name(ul a, ul b, ul c, ul d, ul e, ul f, ul g, ul h)                      \
    {                                                                                             \
        return through(number, #name, a, b, c, d, e, f, g, h);                                    \
    }
FUNCTIONS(WRAPPED)

#define PUT(number, name) ours.at[number] = wrapped_##name;

__attribute__((visibility("default"))) ul C_GetFunctionList(struct list **answer)
{
    Dl_info info;
    struct list *theirs;
    dladdr((void *)C_GetFunctionList, &info);
    snprintf(beside, sizeof beside, "%s", info.dli_fname);
    void *softhsm = dlopen(SOFTHSM, RTLD_NOW);
    ((ul (*)(struct list **))dlsym(softhsm, "C_GetFunctionList"))(&theirs);
    real = ours = *theirs;
    FUNCTIONS(PUT)
    *answer = &ours;
    return 0;
}
