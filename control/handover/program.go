package handover

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Variable is the environment variable that tells a process that it was started to take over, with the number of the
// descriptor to ask on.
const Variable = "HELLOGATE_HANDOVER"

// Program is what is started.
type Program struct {
	// Path is absolute. What is there by then is started, which is how a new binary comes in; a symbolic link may point
	// elsewhere by then.
	Path string
	// Args are the whole command line: Args[0] is the name as it was typed.
	Args []string
}

// ThisProgram is the program that runs. It is for the start of the process: a name relative to the working directory or to PATH
// may mean something else later.
func ThisProgram() (Program, error) {
	path, err := resolve(os.Args[0])
	if err != nil {
		return Program{}, fmt.Errorf("find the program %q: %w", os.Args[0], err)
	}
	return Program{Path: path, Args: slices.Clone(os.Args)}, nil
}

// resolve does not follow symbolic links, as os.Executable does: the next version may be where a link points by then.
func resolve(name string) (string, error) {
	found, err := exec.LookPath(name)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return os.Executable() // whoever started us made argv[0] up
	}
	return filepath.Abs(found)
}

// ownedVariables are about the process that they were set for, and not about the one that it starts.
var ownedVariables = []string{Variable, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "WATCHDOG_PID"}

// inherit is the environment of the new process.
func inherit(environment []string, descriptor int) []string {
	kept := slices.DeleteFunc(slices.Clone(environment), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(ownedVariables, name)
	})
	return append(kept, fmt.Sprintf("%s=%d", Variable, descriptor))
}
