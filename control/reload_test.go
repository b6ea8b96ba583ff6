package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hellogate/control/config"
	"hellogate/control/handover"
)

func TestReload(t *testing.T) {
	changed := ReloadResult{Result: "success", Changed: []string{"routes"}, AfterARestart: []string{"cache"}}
	r := serve(t, func(o *Options) { o.Reload = func() (ReloadResult, error) { return changed, nil } })
	result, err := r.client.Reload(t.Context())
	if diff := cmp.Diff(changed, result); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if !strings.Contains(r.log.String(), "control: reload") {
		t.Errorf("not in the log: %s", r.log)
	}
}

// Every problem of a file reaches who asked, as check prints it: with its place, its line and a caret.
func TestReloadOfAFileThatIsNotInOrder(t *testing.T) {
	_, invalid := config.Parse("f.yaml", []byte(`listeners:
- adress: ":443"
  address: ":443"
stores: [{dir: {path: /certs}}]
backends: {b: {servers: [{address: "127.0.0.1:9"}]}}
cache: {ttl: soon}
`))
	problems, ok := errors.AsType[config.Problems](invalid)
	if !ok || len(problems) != 2 {
		t.Fatalf("no problems to speak of: %v", invalid)
	}
	r := serve(t, func(o *Options) {
		o.Reload = func() (ReloadResult, error) { return ReloadResult{}, fmt.Errorf("reload: %w", invalid) }
	})
	_, err := r.client.Reload(t.Context())
	refused, ok := errors.AsType[*Refused](err)
	if !ok || refused.Code != 422 || strings.Contains(refused.Reason, "\n") || !strings.Contains(refused.Reason, "f.yaml:2:3: ") || !strings.Contains(refused.Reason, "(and 1 more problem)") {
		t.Errorf("got %+v", err)
	}
	told, ok := errors.AsType[config.Problems](err)
	if diff := cmp.Diff(problems.Error(), told.Error()); !ok || diff != "" || !strings.Contains(told.Error(), "^") {
		t.Errorf("%s\n%s", told, diff)
	}
}

func TestReloadThatFails(t *testing.T) {
	r := serve(t, func(o *Options) {
		o.Reload = func() (ReloadResult, error) { return ReloadResult{}, errors.New("listen tcp :443: in use") }
	})
	_, err := r.client.Reload(t.Context())
	refused, ok := errors.AsType[*Refused](err)
	if !ok || refused.Code != 422 || refused.Reason != "listen tcp :443: in use" || refused.Unwrap() != nil {
		t.Errorf("got %+v", err)
	}
	if status, text, _ := r.ask(t, "POST", "/reload", ""); status != 422 || text != `{"result":"error","reason":"listen tcp :443: in use"}`+"\n" {
		t.Errorf("%d %s", status, text)
	}
}

func TestUpgrade(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		status int
		want   string
	}{
		{"done", nil, 200, `{"result":"success","pid":7}`},
		{"under way", fmt.Errorf("upgrade: %w", handover.ErrBusy), 409, `"reason":"upgrade: an upgrade is under way"`},
		{"over", handover.ErrDone, 409, `has taken over already`},
		{"failed", errors.New("the new process ended: exit status 1"), 422, `"reason":"the new process ended: exit status 1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serve(t, func(o *Options) { o.Upgrade = func(context.Context) (int, error) { return 7, c.err } })
			if status, text, _ := r.ask(t, "POST", "/upgrade", ""); status != c.status || !strings.Contains(text, c.want) {
				t.Errorf("%d %s", status, text)
			}
			if result, err := r.client.Upgrade(t.Context()); (err == nil) != (c.err == nil) || err == nil && result.PID != 7 {
				t.Errorf("%+v, %v", result, err)
			}
			if !strings.Contains(r.log.String(), "control: upgrade") {
				t.Errorf("not in the log: %s", r.log)
			}
		})
	}
}

// An upgrade and a reload may take longer than any other answer.
func TestClientWaitsForAnUpgrade(t *testing.T) {
	t.Parallel()
	const answer = 200 * time.Millisecond
	r := serve(t, func(o *Options) {
		o.Upgrade = func(context.Context) (int, error) { time.Sleep(3 * answer); return 7, nil }
		o.Reload = func() (ReloadResult, error) { time.Sleep(3 * answer); return ReloadResult{Result: "success"}, nil }
	})
	client := newClient(r.path, answer, answer)
	defer client.Close()
	if _, err := client.Upgrade(t.Context()); err != nil {
		t.Errorf("upgrade: %v", err)
	}
	if _, err := client.Reload(t.Context()); err != nil {
		t.Errorf("reload: %v", err)
	}
}

// Whoever asked for an upgrade and leaves ends it.
func TestAnUpgradeEndsWithWhoAskedForIt(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	r := serve(t, func(o *Options) {
		o.Upgrade = func(ctx context.Context) (int, error) {
			close(began)
			<-ctx.Done()
			close(ended)
			return 0, ctx.Err()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	if _, err := r.client.Upgrade(ctx); err == nil {
		t.Error("done")
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("goes on")
	}
}
