package redis

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/redis/rueidis"
)

// question is a command and the key that it is about; one that is about none may go to any server.
type question struct {
	key   string
	words []string
}

func get(key string) question { return question{key, []string{"GET", key}} }

// attempts bounds how often a command is sent. All that are sent may be repeated.
const attempts = 3

// ask sends commands, in one round trip for each server concerned, and returns the answers in their order. An answer may
// be an error of Redis, but never one of the connection.
func (s *servers) ask(ctx context.Context, commands ...question) ([]rueidis.RedisResult, error) {
	for attempt := 1; ; attempt++ {
		results, again, err := s.try(ctx, commands)
		if !again || attempt == attempts || ctx.Err() != nil {
			return results, err
		}
	}
}

// try reports with again whether the next try may find what this one did not.
func (s *servers) try(ctx context.Context, commands []question) (results []rueidis.RedisResult, again bool, err error) {
	routes, err := s.routes(ctx)
	if err != nil {
		return nil, false, err
	}
	groups, err := group(routes, commands)
	if err != nil {
		s.forget(routes)
		return nil, false, err
	}
	results = make([]rueidis.RedisResult, len(commands))
	ended := make(chan error, len(groups))
	for address, indexes := range groups {
		if err := s.spawn(func() { ended <- s.askOne(ctx, address, routes, commands, indexes, results) }); err != nil {
			ended <- err
		}
	}
	for range groups {
		if one := <-ended; err == nil {
			err = one
		}
	}
	if err != nil {
		again := worthRepeating(err, s.fixed())
		if again {
			s.forget(routes)
		}
		return nil, again, s.concerned(err)
	}
	if !s.fixed() && outdated(results) {
		s.forget(routes)
		return results, true, nil
	}
	return results, false, nil
}

// concerned keeps the error of a node that can't be connected to from being taken for one of all names.
func (s *servers) concerned(err error) error {
	var noConnection *unconnected
	if s.cluster && errors.As(err, &noConnection) {
		return fail("%w", bounded(noConnection.err))
	}
	return err
}

// group returns which of commands each server is asked.
func group(routes *routes, commands []question) (map[string][]int, error) {
	groups := make(map[string][]int, 1)
	for i, command := range commands {
		address, err := routes.owner(command.key)
		if err != nil {
			return nil, err
		}
		groups[address] = append(groups[address], i)
	}
	return groups, nil
}

// askOne asks the server at address those of commands that indexes name, and puts the answers into the same places of
// results.
func (s *servers) askOne(
	ctx context.Context, address string, routes *routes, commands []question, indexes []int, results []rueidis.RedisResult,
) error {
	mine := make([]question, len(indexes))
	for i, index := range indexes {
		mine[i] = commands[index]
	}
	answers, err := s.askAt(ctx, address, mine...)
	if err != nil {
		return err
	}
	for i, index := range indexes {
		results[index] = s.follow(ctx, address, routes, commands[index], answers[i])
	}
	return nil
}

// askAt asks one server. A connection that broke, or gave no answer in time, takes those in the pool with it.
func (s *servers) askAt(ctx context.Context, address string, commands ...question) ([]rueidis.RedisResult, error) {
	peer := peer{address: address}
	client, err := s.client(ctx, peer)
	if err != nil {
		return nil, err
	}
	results, err := s.exchange(ctx, client, commands...)
	if err != nil && !errors.Is(err, context.Canceled) {
		s.drop(peer, client)
	}
	return results, err
}

// follow asks again where the server at address said that another has the key: for good, or because the key's slot is
// moving and it has gone ahead.
func (s *servers) follow(
	ctx context.Context, address string, routes *routes, command question, answer rueidis.RedisResult,
) rueidis.RedisResult {
	said, _ := refusal(answer.Error())
	moved, asks := said.code == "MOVED", said.code == "ASK"
	if !s.cluster || !moved && !asks {
		return answer
	}
	_, target, _ := strings.Cut(said.rest, " ")
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return answer
	}
	if host == "" {
		host, _, _ = net.SplitHostPort(address)
	}
	commands := []question{command}
	if moved {
		s.forget(routes)
	} else {
		commands = []question{{words: []string{"ASKING"}}, command}
	}
	results, err := s.askAt(ctx, net.JoinHostPort(host, port), commands...)
	if err != nil {
		return answer
	}
	return results[len(results)-1]
}

// exchange sends commands over one connection. The library minds the deadline of ctx, but does not see it cancelled.
func (s *servers) exchange(ctx context.Context, client rueidis.Client, commands ...question) ([]rueidis.RedisResult, error) {
	ended := make(chan []rueidis.RedisResult, 1)
	err := s.spawn(func() {
		built := make([]rueidis.Completed, len(commands))
		for i, command := range commands {
			built[i] = client.B().Arbitrary(command.words...).Build()
		}
		ended <- client.DoMulti(ctx, built...)
	})
	if err != nil {
		return nil, err
	}
	stop := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			close(stop)
		}
	})()
	select {
	case results := <-ended:
		return results, broken(results)
	case <-stop:
		return nil, ctx.Err()
	}
}

// broken returns the error of the connection, if there was one. The errors that Redis answered are none; but those that it
// answered to the login are: nothing else was sent then.
func broken(results []rueidis.RedisResult) error {
	for _, result := range results {
		if err := result.NonRedisError(); err != nil {
			return err
		}
	}
	return nil
}

// worthRepeating reports whether err may be that of a connection which broke while nobody used it, or of a server that is
// no longer the one to ask.
func worthRepeating(err error, fixed bool) bool {
	var noConnection *unconnected
	var noFile *unprepared
	_, answered := refusal(err)
	switch {
	case answered, errors.As(err, &noFile), errors.Is(err, errProtocol), errors.Is(err, errClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &noConnection):
		return !fixed
	}
	return true
}

// outdated reports whether Redis says that another server is the one to ask.
func outdated(results []rueidis.RedisResult) bool {
	for _, result := range results {
		switch answer, _ := refusal(result.Error()); answer.code {
		case "MOVED", "READONLY", "CLUSTERDOWN":
			return true
		}
	}
	return false
}

// text returns the string of an answer, and whether there is one.
func text(message rueidis.RedisMessage) (value string, there bool, err error) {
	switch err := message.Error(); {
	case message.IsNil():
		return "", false, nil
	case err != nil:
		return "", false, failure(err)
	case !message.IsString():
		return "", false, failure(malformed("no string"))
	}
	value, err = message.ToString()
	return value, err == nil, err
}
