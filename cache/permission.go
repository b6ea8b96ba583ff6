package cache

import "context"

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

// forgetPermission drops the remembered permissions of what a flush takes, and returns their names.
func (c *Cache) forgetPermission(wanted *flush) []string {
	if c.options.Permission == nil {
		return nil
	}
	return c.options.Permission.ForgetFunc(wanted.takes)
}

// explainPermission says what stands between a name and the stores.
func (c *Cache) explainPermission(name string) []Step {
	if c.options.Permission == nil {
		return nil
	}
	result := "would be asked"
	if permitted, known := c.options.Permission.Recall(name); known && permitted {
		result = "yes, as remembered"
	} else if known {
		result = "no, as remembered"
	}
	return []Step{{"permission", result}}
}
