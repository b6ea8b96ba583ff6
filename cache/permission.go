package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hellogate/store"
)

// Permission says for which names a store may be asked.
type Permission interface {
	// Ask returns nil for a yes and an error that wraps store.ErrUnknown for a no. Any other error is a failure, which is not
	// taken for a no. It must bound itself in time.
	Ask(ctx context.Context, name string) error
	// Recall returns the remembered answer, if there is one.
	Recall(name string) (permitted, known bool)
	// ForgetFunc drops the remembered answers for the names that takes returns true for, keeps none that was asked for
	// before, and returns the names.
	ForgetFunc(takes func(name string) bool) []string
}

// errPermission is wrapped by the failure to ask for leave.
var errPermission = errors.New("permission could not be asked")

// askPermission returns nil when a store may be asked for a name.
func (c *Cache) askPermission(name string) error {
	err := c.options.Permission.Ask(c.life, name)
	if err == nil || errors.Is(err, store.ErrUnknown) {
		return err
	}
	return fmt.Errorf("%w: %w", errPermission, err)
}

// sometimes says when it is time again for something that is worth a line of the log once a minute, whatever happens.
type sometimes struct{ last int64 } // on the monotonic clock; 0: never

func (s *sometimes) due(now moment) bool {
	if s.last != 0 && now.mono-s.last < int64(time.Minute) {
		return false
	}
	s.last = max(now.mono, 1)
	return true
}

// forgetPermission drops the remembered permissions of what a flush takes, and returns their names.
func (c *Cache) forgetPermission(wanted *flush) []string {
	if c.options.Permission == nil {
		return nil
	}
	return c.options.Permission.ForgetFunc(wanted.takes)
}

// explainDenied is the step that decides when permission was denied, and is remembered to be.
func (c *Cache) explainDenied(name string) (step Step, is bool) {
	if c.options.Permission == nil {
		return Step{}, false
	}
	permitted, known := c.options.Permission.Recall(name)
	return Step{"permission", "no, as remembered"}, known && !permitted
}

// WouldBeAsked is the result of a step of Explain that leads out of the process: to the permission endpoint, to the stores.
const WouldBeAsked = "would be asked"

// explainPermission says what stands between a name that is not denied and the stores.
func (c *Cache) explainPermission(name string) []Step {
	if c.options.Permission == nil {
		return nil
	}
	if permitted, _ := c.options.Permission.Recall(name); permitted {
		return []Step{{"permission", "yes, as remembered"}}
	}
	return []Step{{"permission", WouldBeAsked}}
}
