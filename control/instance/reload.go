package instance

import (
	"errors"
	"reflect"
	"slices"
	"strings"

	"hellogate/control"
	"hellogate/control/config"
)

var (
	errNoFile = errors.New("there is no configuration file to read again: it was started from flags")
	errEnding = errors.New("it has begun to end: nothing is read again")
)

// Reload reads the configuration again and has the traffic go by it. An error leaves everything as it was. One that comes
// while another is under way waits for it.
func (i *Instance) Reload() (result control.ReloadResult, err error) {
	end, err := i.change()
	if err != nil {
		return result, err
	}
	defer end()
	i.changing.Lock()
	defer i.changing.Unlock()
	i.warn(i.options.Notifier.Reloading())
	result, err = i.reload()
	i.warn(i.options.Notifier.Ready(i.status()))
	if err != nil {
		i.options.Log.Error().Err(config.Brief(err)).Msg("reload failed: everything stays as it was")
		return result, err
	}
	i.options.Log.Info().Strs("changed", result.Changed).Strs("after_a_restart", result.AfterARestart).Msg("reloaded")
	read := i.plane.Load().config
	for _, warning := range read.Warnings {
		i.options.Log.Warn().Str("note", warning).Msg("configuration")
	}
	i.warnOfSecrets(read)
	return result, nil
}

func (i *Instance) reload() (result control.ReloadResult, err error) {
	switch {
	case i.options.Load == nil:
		return result, errNoFile
	case i.draining():
		return result, errEnding
	}
	read, err := i.options.Load()
	if err != nil {
		return result, err
	}
	before := i.plane.Load()
	next, err := i.newPlane(read, before)
	if err != nil {
		return result, err
	}
	if err := i.use(next); err != nil {
		next.discard()
		return result, err
	}
	return i.changed(before.config, read), nil
}

// changed says what came of a reload, and sees to what is no part of the traffic.
func (i *Instance) changed(before, read *config.Config) control.ReloadResult {
	result := control.ReloadResult{Result: "success", Changed: []string{}, AfterARestart: []string{}}
	for _, section := range differences(before, read) {
		if slices.Contains(live, section) {
			result.Changed = append(result.Changed, section)
		}
	}
	started := *i.config
	if i.options.Relevel != nil && i.options.Relevel(string(read.Log.Level)) == nil {
		if started.Log.Level = read.Log.Level; before.Log.Level != read.Log.Level {
			result.Changed = append(result.Changed, "log.level")
		}
	}
	for _, section := range differences(&started, read) {
		if !slices.Contains(live, section) {
			result.AfterARestart = append(result.AfterARestart, section)
		}
	}
	return result
}

// live are the sections of a configuration that a reload has take effect. The others do with an upgrade, or a restart.
var live = []string{"listeners", "limits", "tls", "session_tickets", "stores", "breaker", "lookups", "prefetch", "routes", "backends", "fallback"}

// differences are the sections in which two configurations differ.
func differences(a, b *config.Config) (sections []string) {
	first, second := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for n := range first.NumField() {
		field := first.Type().Field(n)
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if field.IsExported() && name != "" && name != "-" && !reflect.DeepEqual(first.Field(n).Interface(), second.Field(n).Interface()) {
			sections = append(sections, name)
		}
	}
	return sections
}
