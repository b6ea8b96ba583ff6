//go:build linux && cgo && !s390x

package libcrypto

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

// What OpenSSL can be configured without, of what the openssl package looks up. That package ends the process when it
// misses something.
static const char *const needed[] = {
	"EVP_md4", "EVP_md5", "EVP_rc4", "EVP_des_ecb", "EC_GROUP_new_by_curve_name",
};

// try_load returns why file can't be used, in memory that the thread's next call may free; NULL when it can.
static const char *try_load(const char *file) {
	void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL)
		return dlerror();
	for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
		if (dlsym(handle, needed[i]) == NULL)
			return dlerror();
	return NULL;
}
*/
import "C"

import (
	"errors"
	"runtime"
	"strings"
	"unsafe"

	"github.com/golang-fips/openssl/v2"
)

// file is looked for where the system's loader looks: in LD_LIBRARY_PATH, in its cache, in the system's folders; never in
// the working directory of itself. It is OpenSSL 3, whichever its minor version. OpenSSL 1.1 gets no fixes any more. It reads the
// system's openssl.cnf, or what OPENSSL_CONF names, as it does in every program.
const file = "libcrypto.so.3"

func load() (version string, err error) {
	if err := tryLoad(); err != nil {
		return "", err
	}
	if err := openssl.Init(file); err != nil {
		return "", errors.New(firstLine(err.Error()))
	}
	// "OpenSSL 3.0.19 27 Jan 2026 (...)"
	fields := strings.Fields(openssl.VersionText())
	return strings.Join(fields[:min(2, len(fields))], " "), nil
}

func tryLoad() error {
	// The reason is in memory of the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	name := C.CString(file)
	defer C.free(unsafe.Pointer(name))
	if reason := C.try_load(name); reason != nil {
		return errors.New(firstLine(C.GoString(reason)))
	}
	return nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
