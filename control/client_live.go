package control

import (
	"context"
	"net/url"
	"time"
)

// Backends asks for the state of the pools.
func (c *Client) Backends(ctx context.Context) ([]Backend, error) {
	var answer struct{ Backends []Backend }
	return answer.Backends, c.get(ctx, "/backends", &answer)
}

// Drain lets a server have no new connection; those that are open go on. The server is named by its address as configured,
// here and in what follows. A *Refused with code 404 says that there is none.
func (c *Client) Drain(ctx context.Context, backend, server string) (ServerChange, error) {
	return c.change(ctx, backend, server, "drain", nil)
}

// Enable ends what Drain and Disable began.
func (c *Client) Enable(ctx context.Context, backend, server string) (ServerChange, error) {
	return c.change(ctx, backend, server, "enable", nil)
}

// Disable lets a server have no new connection, and with kill resets those that are open.
func (c *Client) Disable(ctx context.Context, backend, server string, kill bool) (ServerChange, error) {
	if kill {
		return c.change(ctx, backend, server, "disable?kill=true", nil)
	}
	return c.change(ctx, backend, server, "disable", nil)
}

// SetWeight sets the weight of a server, 0 to 256; -1: as configured.
func (c *Client) SetWeight(ctx context.Context, backend, server string, weight int) (ServerChange, error) {
	return c.change(ctx, backend, server, "weight", WeightRequest{Weight: &weight})
}

func (c *Client) change(ctx context.Context, backend, server, what string, request any) (changed ServerChange, err error) {
	path := "/backends/" + url.PathEscape(backend) + "/" + url.PathEscape(server) + "/" + what
	return changed, c.post(ctx, path, request, &changed)
}

// Kill resets connections.
func (c *Client) Kill(ctx context.Context, request KillRequest) (result KillResult, err error) {
	return result, c.post(ctx, "/connections/kill", request, &result)
}

// Reload has the configuration read again. The problems of a file that is not in order are in the *Refused.
func (c *Client) Reload(ctx context.Context) (result ReloadResult, err error) {
	return result, c.waiting(reloadTimeout).post(ctx, "/reload", nil, &result)
}

// Upgrade has a new process take over, and returns when it has. A *Refused with code 409 says that one does already.
func (c *Client) Upgrade(ctx context.Context) (result UpgradeResult, err error) {
	return result, c.waiting(upgradeTimeout+answerTimeout).post(ctx, "/upgrade", nil, &result)
}

// waiting is c for one request whose answer takes as long as head says. It leaves nothing to close.
func (c *Client) waiting(head time.Duration) *Client {
	patient := over(c.path, min(head, answerTimeout), head, head)
	return &Client{path: c.path, http: patient, fetches: patient}
}
