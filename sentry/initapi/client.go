package initapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/roles"
)

// Client asks init.
type Client struct{ http *http.Client }

// NewClient asks at socket, layout.InitSocket if empty.
func NewClient(socket string) *Client {
	if socket == "" {
		socket = layout.InitSocket
	}
	return &Client{&http.Client{Timeout: 3 * time.Minute, Transport: &http.Transport{
		MaxIdleConns: 2,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

// Patient returns a client that waits for as long as a service may take to stop.
func (c *Client) Patient() *Client {
	h := *c.http
	h.Timeout = 5 * time.Minute
	return &Client{&h}
}

// State asks for everything init knows.
func (c *Client) State(ctx context.Context) (State, error) {
	var s State
	return s, c.do(ctx, http.MethodGet, "/v1/state", nil, &s)
}

// Boot asks how this boot went.
func (c *Client) Boot(ctx context.Context) (BootReport, error) {
	var b BootReport
	return b, c.do(ctx, http.MethodGet, "/v1/boot", nil, &b)
}

// Inventory asks for the hardware found in this boot.
func (c *Client) Inventory(ctx context.Context) (hwcheck.Inventory, error) {
	var i hwcheck.Inventory
	return i, c.do(ctx, http.MethodGet, "/v1/inventory", nil, &i)
}

// Service does verb ("start", "stop", "restart", "reload", "enable", "disable") to a pack, or to what a unit or process of one
// names. Starting does not wait until it is ready, stopping waits until it is gone.
func (c *Client) Service(ctx context.Context, name, verb string) error {
	_, err := c.ServiceNote(ctx, name, verb)
	return err
}

// ServiceNote is Service that also returns what init has to say to it: what else was enabled, say. It may be empty.
func (c *Client) ServiceNote(ctx context.Context, name, verb string) (string, error) {
	var d Done
	err := c.do(ctx, http.MethodPost, "/v1/services/"+url.PathEscape(name)+"/"+url.PathEscape(verb), struct{}{}, &d)
	return d.Note, err
}

// ReloadSite lets init read the site's settings again and apply their list of services. The note says what was done.
func (c *Client) ReloadSite(ctx context.Context) (string, error) {
	var d Done
	err := c.do(ctx, http.MethodPost, "/v1/site/reload", struct{}{}, &d)
	return d.Note, err
}

// Power ends the system in order.
func (c *Client) Power(ctx context.Context, r PowerRequest) error {
	return c.do(ctx, http.MethodPost, "/v1/power", r, nil)
}

// Add takes a disk into the set.
func (c *Client) Add(ctx context.Context, r AddRequest) error {
	return c.do(ctx, http.MethodPost, "/v1/set/add", r, nil)
}

// Order gives an operator's decision while holding.
func (c *Client) Order(ctx context.Context, o roles.Order) error {
	return c.do(ctx, http.MethodPost, "/v1/set/order", o, nil)
}

// Rehearse stops services of a secondary and orders their start, all of the site's if none are named. It takes as long as they take to stop.
func (c *Client) Rehearse(ctx context.Context, services []string) error {
	return c.within(ctx, 6*time.Minute, http.MethodPost, "/v1/rehearse", RehearseRequest{services}, nil)
}

// Commit gives up the way back to an older release for the data of services, or tells what that would remove.
func (c *Client) Commit(ctx context.Context, r CommitRequest) (Committed, error) {
	var out Committed
	return out, c.do(ctx, http.MethodPost, "/v1/data/commit", r, &out)
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	limit := 30 * time.Second
	if method == http.MethodPost { // services take their time to stop
		limit = 3 * time.Minute
	}
	return c.within(ctx, limit, method, path, in, out)
}

func (c *Client) within(ctx context.Context, limit time.Duration, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("ask init: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://init"+path, body)
	if err != nil {
		return fmt.Errorf("ask init: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return fmt.Errorf("ask init: %w", err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		return fmt.Errorf("ask init: %w", err)
	}
	if res.StatusCode >= 400 {
		var e struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(data, &e) != nil || e.Error == "" {
			e.Error = res.Status
		}
		return errors.New(e.Error)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("ask init for %s: %w", path, err)
	}
	return nil
}
