/* A server that answers after a chosen delay, exactly: `delay_server HTTP_PORT HTTPS_PORT CERTIFICATE_AND_KEY.pem`.
 *
 * GET /MICROSECONDS is answered so long after the kernel received the request's last byte (SO_TIMESTAMPNS), with a page
 * of 1 KB and the end of the connection. GET /errors gives, as JSON, by how much its answers missed their times since it
 * was last asked. One thread; it sleeps until shortly before an answer is due and spins for the rest. To be run with
 * real-time priority on a core of its own: `taskset -c 1 chrt -f 50 ...`.
 *
 * cc -O2 -o delay_server bench/delay_server.c -lssl -lcrypto
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_MAX = 4096, CONNECTIONS_MAX = 65536, ERRORS_MAX = 1 << 20, PAGE_BYTES = 1024 };
static const int64_t SPIN_NS = 20000; /* a sleep may end so much too late */

typedef struct {
    int fd, have, heap_at; /* heap_at: -1 when no answer is due */
    int64_t arrived_ns, due_ns;
    SSL *ssl;
    BIO *incoming, *outgoing;
    char request[REQUEST_MAX];
} Connection;

static Connection *by_fd[CONNECTIONS_MAX];
static Connection *heap[CONNECTIONS_MAX];
static int heap_size;
static int32_t errors_ns[ERRORS_MAX];
static int error_count;
static int epoll_fd, timer_fd;
static SSL_CTX *tls;
static char answer[PAGE_BYTES + 256];
static int answer_bytes;

static void die(const char *what) { perror(what); exit(1); }

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* the answers that wait, the next one first: a binary heap */

static void place(Connection *one, int at) { heap[at] = one; one->heap_at = at; }

static void sift_up(int at) {
    Connection *one = heap[at];
    for (; at > 0 && heap[(at - 1) / 2]->due_ns > one->due_ns; at = (at - 1) / 2) place(heap[(at - 1) / 2], at);
    place(one, at);
}

static void sift_down(int at) {
    Connection *one = heap[at];
    for (int child; (child = 2 * at + 1) < heap_size; at = child) {
        if (child + 1 < heap_size && heap[child + 1]->due_ns < heap[child]->due_ns) child++;
        if (heap[child]->due_ns >= one->due_ns) break;
        place(heap[child], at);
    }
    place(one, at);
}

static void heap_remove(Connection *one) {
    int at = one->heap_at;
    if (at < 0) return;
    one->heap_at = -1;
    Connection *last = heap[--heap_size];
    if (last == one) return;
    place(last, at);
    sift_up(at);
    sift_down(last->heap_at);
}

/* connections */

static void finish(Connection *one) {
    heap_remove(one);
    by_fd[one->fd] = NULL;
    close(one->fd);
    if (one->ssl) SSL_free(one->ssl);
    free(one);
}

static void flush(Connection *one) {
    char data[16384];
    int got;
    while ((got = BIO_read(one->outgoing, data, sizeof data)) > 0)
        if (send(one->fd, data, got, MSG_NOSIGNAL) < 0) return;
}

static void reply(Connection *one, const char *data, int bytes) {
    if (one->ssl) {
        SSL_write(one->ssl, data, bytes);
        SSL_shutdown(one->ssl);
        flush(one);
    } else {
        send(one->fd, data, bytes, MSG_NOSIGNAL);
    }
    shutdown(one->fd, SHUT_WR);
}

static int compare(const void *a, const void *b) { return (*(int32_t *)a > *(int32_t *)b) - (*(int32_t *)a < *(int32_t *)b); }

static void reply_errors(Connection *one) {
    char body[256], data[512];
    qsort(errors_ns, error_count, sizeof *errors_ns, compare);
    int n = error_count, last = n ? n - 1 : 0;
    int bytes = snprintf(body, sizeof body, "{\"answers\": %d, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}", n,
                         errors_ns[last / 2] / 1e3, errors_ns[last * 99LL / 100] / 1e3, errors_ns[last * 999LL / 1000] / 1e3, errors_ns[last] / 1e3);
    bytes = snprintf(data, sizeof data, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", bytes, body);
    error_count = 0;
    errors_ns[0] = 0;
    reply(one, data, bytes);
}

static void answer_due(void) {
    while (heap_size && heap[0]->due_ns - now_ns() < SPIN_NS) {
        Connection *one = heap[0];
        while (now_ns() < one->due_ns) {}
        heap_remove(one);
        reply(one, answer, answer_bytes);
        if (error_count < ERRORS_MAX) errors_ns[error_count++] = (int32_t)(now_ns() - one->due_ns);
    }
}

static void set_timer(void) {
    struct itimerspec at = {0};
    if (heap_size) {
        int64_t wake_ns = heap[0]->due_ns - SPIN_NS;
        at.it_value.tv_sec = wake_ns / 1000000000;
        at.it_value.tv_nsec = wake_ns % 1000000000;
    }
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void take_request(Connection *one) {
    if (one->heap_at >= 0 || !memmem(one->request, one->have, "\r\n\r\n", 4)) return;
    one->request[one->have < REQUEST_MAX ? one->have : REQUEST_MAX - 1] = 0;
    if (strncmp(one->request, "GET /", 5)) { finish(one); return; }
    if (!strncmp(one->request + 5, "errors", 6)) { one->have = 0; reply_errors(one); return; }
    one->due_ns = one->arrived_ns + atoll(one->request + 5) * 1000;
    one->have = 0;
    place(one, heap_size++);
    sift_up(heap_size - 1);
}

static void readable(Connection *one) {
    char data[16384], control[128];
    struct iovec part = {data, sizeof data};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(one->fd, &message, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { finish(one); return; }
    one->arrived_ns = now_ns();
    for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each))
        if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec *stamp = (struct timespec *)CMSG_DATA(each);
            one->arrived_ns = stamp->tv_sec * 1000000000LL + stamp->tv_nsec;
        }
    int room = REQUEST_MAX - 1 - one->have;
    if (!one->ssl) {
        int take = got < room ? got : room;
        memcpy(one->request + one->have, data, take);
        one->have += take;
    } else {
        BIO_write(one->incoming, data, got);
        if (!SSL_is_init_finished(one->ssl)) {
            int done = SSL_accept(one->ssl);
            flush(one);
            if (done != 1) {
                if (SSL_get_error(one->ssl, done) != SSL_ERROR_WANT_READ) finish(one);
                ERR_clear_error();
                return;
            }
        }
        int plain;
        while (room > 0 && (plain = SSL_read(one->ssl, one->request + one->have, room)) > 0) { one->have += plain; room -= plain; }
        ERR_clear_error();
    }
    take_request(one);
}

static void accept_all(int listener, int secure) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= CONNECTIONS_MAX) { close(fd); continue; }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
        Connection *one = calloc(1, sizeof *one);
        one->fd = fd;
        one->heap_at = -1;
        if (secure) {
            one->ssl = SSL_new(tls);
            one->incoming = BIO_new(BIO_s_mem());
            one->outgoing = BIO_new(BIO_s_mem());
            SSL_set_bio(one->ssl, one->incoming, one->outgoing);
            SSL_set_accept_state(one->ssl);
        }
        by_fd[fd] = one;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    struct sockaddr_in place_ = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&place_, sizeof place_) || listen(fd, 16384)) die("bind");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    return fd;
}

int main(int count, char **arguments) {
    if (count != 4) { fprintf(stderr, "usage: delay_server HTTP_PORT HTTPS_PORT PEM\n"); return 2; }
    signal(SIGPIPE, SIG_IGN);
    tls = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(tls, arguments[3]) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, arguments[3], SSL_FILETYPE_PEM) != 1) { ERR_print_errors_fp(stderr); return 1; }
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(tls, 0);
    answer_bytes = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", PAGE_BYTES);
    memset(answer + answer_bytes, 'x', PAGE_BYTES);
    answer_bytes += PAGE_BYTES;
    epoll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
    int plain = listen_on(atoi(arguments[1])), secure = listen_on(atoi(arguments[2]));
    struct epoll_event event = {.events = EPOLLIN, .data.fd = timer_fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event);
    mlockall(MCL_CURRENT | MCL_FUTURE);
    for (;;) {
        struct epoll_event events[64];
        set_timer();
        int ready = epoll_wait(epoll_fd, events, 64, -1);
        for (int at = 0; at < ready; at++) {
            int fd = events[at].data.fd;
            uint64_t ticks;
            answer_due(); /* before each piece of other work: what is due waits for no handshake */
            if (fd == timer_fd) { if (read(timer_fd, &ticks, sizeof ticks) < 0) {} }
            else if (fd == plain) accept_all(fd, 0);
            else if (fd == secure) accept_all(fd, 1);
            else if (by_fd[fd]) readable(by_fd[fd]);
        }
        answer_due();
    }
}
