package acme

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"hellogate/store"
)

// account is what account.json has. The key is beside it.
type account struct {
	Directory     string    `json:"directory"`
	Location      string    `json:"location"`
	Contact       string    `json:"contact,omitempty"`
	KeyID         string    `json:"eab_kid,omitempty"`
	TermsAccepted bool      `json:"terms_accepted"`
	At            time.Time `json:"registered_at"`
}

func (a *authority) keys() (account, key string) {
	return accounts + "/" + a.key + "/account.json", accounts + "/" + a.key + "/key.pem"
}

// signIn returns the account, which it registers if there is none yet, and tells of another contact. One does it, in this
// process and among those that share the storage.
func (a *authority) signIn(ctx context.Context, client *acme.Client) (acme.Account, error) {
	select {
	case a.registering <- struct{}{}:
		defer func() { <-a.registering }()
	case <-ctx.Done():
		return acme.Account{}, context.Cause(ctx)
	}
	a.mu.Lock()
	known := a.account
	a.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	held, release, err := a.store.options.Storage.Lock(ctx, "account-"+a.key)
	if err != nil {
		return acme.Account{}, fmt.Errorf("account at %s: %w", a.url, err)
	}
	defer release()
	made, err := a.open(held, client)
	if err != nil {
		return acme.Account{}, fmt.Errorf("account at %s: %w", a.url, err)
	}
	a.mu.Lock()
	a.account = &made
	a.mu.Unlock()
	return made, nil
}

// signOut forgets the account that the authority does not know any more. Its key is used again.
func (a *authority) signOut(ctx context.Context) error {
	a.mu.Lock()
	a.account = nil
	a.mu.Unlock()
	where, _ := a.keys()
	return a.store.options.Storage.Remove(ctx, where)
}

func (a *authority) open(ctx context.Context, client *acme.Client) (acme.Account, error) {
	options := &a.store.options
	signed := acme.Account{Status: acme.StatusValid, TermsOfServiceAgreed: options.AcceptTerms}
	if options.Contact != "" {
		signed.Contact = []string{"mailto:" + options.Contact}
	}
	if err := a.loadKey(ctx, &signed); err != nil {
		return acme.Account{}, err
	}
	saved, err := a.load(ctx)
	switch {
	case err != nil:
		return acme.Account{}, err
	case saved == nil:
		signed, err = a.register(ctx, client, signed)
	case saved.Contact != options.Contact && options.Contact != "":
		signed.Location = saved.Location
		_, err = client.UpdateAccount(ctx, acme.Account{
			Contact: signed.Contact, Location: saved.Location, PrivateKey: signed.PrivateKey,
		})
		if isProblem(err, acme.ProblemTypeAccountDoesNotExist) {
			signed, err = a.register(ctx, client, signed)
		}
	default:
		signed.Location = saved.Location
		return signed, nil
	}
	if err != nil {
		return acme.Account{}, err
	}
	return signed, a.save(ctx, signed)
}

// register makes an account. For a key that the authority knows it is the one that there is (RFC 8555 section 7.3.1): one
// that was killed before it had saved its account finds it again.
func (a *authority) register(ctx context.Context, client *acme.Client, wanted acme.Account) (acme.Account, error) {
	wanted.Status, wanted.Location = "", ""
	if binding := a.store.options.EAB; binding.KeyID != "" {
		key := strings.TrimRight(strings.TrimSpace(binding.MACKey), "=")
		if err := wanted.SetExternalAccountBinding(ctx, client, acme.EAB{KeyID: binding.KeyID, MACKey: key}); err != nil {
			return acme.Account{}, fmt.Errorf("external account binding: %w", err)
		}
	}
	made, err := client.NewAccount(ctx, wanted)
	if err != nil {
		return acme.Account{}, err
	}
	if made.Location == "" || made.Status != acme.StatusValid {
		return acme.Account{}, fmt.Errorf("the authority made an account of status %q at %q", made.Status, made.Location)
	}
	made.PrivateKey = wanted.PrivateKey
	return made, nil
}

func (a *authority) loadKey(ctx context.Context, signed *acme.Account) error {
	_, where := a.keys()
	content, err := a.store.options.Storage.Load(ctx, where)
	if errors.Is(err, fs.ErrNotExist) {
		return a.makeKey(ctx, signed, where)
	}
	if err != nil {
		return err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return fmt.Errorf("%s is no PEM", where)
	}
	signed.PrivateKey, err = store.ParseKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

// makeKey makes a key, and saves it before anything is signed with it.
func (a *authority) makeKey(ctx context.Context, signed *acme.Account, where string) error {
	made, err := newKey("p256")
	if err != nil {
		return err
	}
	content, err := encodeKey(made)
	if err != nil {
		return err
	}
	signed.PrivateKey = made
	return a.store.options.Storage.Save(ctx, where, content)
}

// load returns what was saved of the account; nil: nothing that can be used.
func (a *authority) load(ctx context.Context) (*account, error) {
	where, _ := a.keys()
	content, err := a.store.options.Storage.Load(ctx, where)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var saved account
	if json.Unmarshal(content, &saved) != nil || saved.Location == "" || saved.Directory != a.url {
		return nil, nil
	}
	return &saved, nil
}

func (a *authority) save(ctx context.Context, signed acme.Account) error {
	options := &a.store.options
	content, err := json.MarshalIndent(account{
		Directory: a.url, Location: signed.Location, Contact: options.Contact, KeyID: options.EAB.KeyID,
		TermsAccepted: options.AcceptTerms, At: time.Now().UTC().Truncate(time.Second),
	}, "", "  ")
	if err != nil {
		return err
	}
	where, _ := a.keys()
	return options.Storage.Save(ctx, where, append(content, '\n'))
}
