/* The load of the benchmark: thousands of Socket.IO clients over WebSocket, in one thread.
 *
 * It must not be what limits a fast server, so it reads and stamps whatever came before it looks into it: in a batch the
 * bytes of each client go into a buffer that is mapped already, and are parsed once no more come.
 *
 * usage: load PORT, with commands on stdin, one a line, each answered by a line of JSON:
 *   connect COUNT IN_FLIGHT REMINDERS [PAYLOAD]
 *       COUNT more clients, IN_FLIGHT at once, until each has its answer to CONNECT (which carries PAYLOAD) and got
 *       that many reminders
 *   schedule COUNT CONNECTIONS WINDOW TIME
 *       COUNT events over that many of the clients, each with at most WINDOW of them unanswered
 *   expect REMINDERS DUE SECONDS
 *       answers {"ready"} at once, and the result when each client has got that many reminders, or SECONDS after DUE
 *       (ns since 1970)
 *   cursor
 *       what the first client needs in order to resume: its pid, and the offset that came last
 *   disconnect
 *       ends all clients, without the handshake that would keep their ports
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define SLOT 8192            /* bytes of a client's buffer, beside what a batch needs */
#define REMINDER 256         /* bytes that a reminder and its frame take at most */
#define QUIET (20 * SECOND / 1000) /* without a byte, after which a batch is parsed */
#define UNPARSED (5 * SECOND)      /* after which it is parsed anyway, since pings want an answer */
#define SPIN (50 * SECOND / 1000)  /* before a batch is due, from when on nothing sleeps */
#define PATIENCE (120 * SECOND)    /* for connecting and scheduling */
#define EVENTS 512
#define NONE UINT32_MAX

enum state { UPGRADING, OPENING, JOINING, JOINED, LOST };

struct client {
    int fd;
    enum state state;
    bool settled;              /* has all that `connect` waits for */
    char *buffer;              /* received bytes; those before `start` are parsed */
    size_t start, end;
    char *out;                 /* bytes that the socket did not take */
    size_t out_size;
    uint64_t received, parsed; /* bytes since the connection began */
    uint32_t first_read, last_read; /* a list of reads in a batch */
    uint32_t reminders, unanswered;
    int64_t first, last;       /* when the reminders came */
};

/* A read of a batch: when, and up to which byte of its client. */
struct reading {
    int64_t time;
    uint64_t end;
    uint32_t next;
};

static struct client *clients;
static size_t count, capacity;
static char *arena;
static size_t arena_size, slot = SLOT;
static struct reading *readings;
static size_t reading_count, reading_capacity;

static int epoll;
static struct sockaddr_in server;
static const char *connect_payload = "";
static char pid[128], offset[256];
static char problem[256]; /* the first thing that went wrong */

static size_t lost, joined, settled, complete;
static uint32_t wanted; /* reminders that each client is to get */
static bool batch;      /* reads are noted and parsed later */

static size_t schedule_count, schedule_sent, schedule_answered, schedule_failed;
static const char *schedule_time;
static int64_t *sent_at;

/* -- clocks and failures -- */

static int64_t clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static int64_t now(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static void *checked(void *memory)
{
    if (memory == NULL || memory == MAP_FAILED) {
        perror("load: memory");
        exit(1);
    }
    return memory;
}

static void lose(struct client *c, const char *why)
{
    if (c->state == LOST)
        return;
    if (!problem[0])
        snprintf(problem, sizeof problem, "client %zu: %s", (size_t)(c - clients), why);
    c->state = LOST;
    lost++;
    close(c->fd);
}

/* -- writing -- */

static void watch(struct client *c, int operation, bool writing)
{
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.u32 = (uint32_t)(c - clients)};
    epoll_ctl(epoll, operation, c->fd, &event);
}

static void send_bytes(struct client *c, const char *data, size_t size)
{
    if (c->state == LOST)
        return;
    if (c->out_size == 0) {
        ssize_t taken = send(c->fd, data, size, MSG_NOSIGNAL);
        if (taken < 0 && errno != EAGAIN) {
            lose(c, strerror(errno));
            return;
        }
        if (taken > 0) {
            data += taken;
            size -= (size_t)taken;
        }
        if (size > 0)
            watch(c, EPOLL_CTL_MOD, true);
    }
    if (size > 0) {
        c->out = checked(realloc(c->out, c->out_size + size));
        memcpy(c->out + c->out_size, data, size);
        c->out_size += size;
    }
}

static void writable(struct client *c)
{
    ssize_t taken = send(c->fd, c->out, c->out_size, MSG_NOSIGNAL);
    if (taken < 0) {
        if (errno != EAGAIN)
            lose(c, strerror(errno));
        return;
    }
    c->out_size -= (size_t)taken;
    memmove(c->out, c->out + taken, c->out_size);
    if (c->out_size == 0)
        watch(c, EPOLL_CTL_MOD, false);
}

/* One masked frame (RFC 6455 section 5.2) of up to 64 KiB. */
static void send_frame(struct client *c, int opcode, const char *payload, size_t size)
{
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    char frame[8 + UINT16_MAX];
    size_t head = 2;
    if (size > UINT16_MAX) {
        lose(c, "a message is too long to be sent");
        return;
    }
    frame[0] = (char)(0x80 | opcode);
    if (size < 126) {
        frame[1] = (char)(0x80 | size);
    } else {
        frame[1] = (char)(0x80 | 126);
        frame[2] = (char)(size >> 8);
        frame[3] = (char)size;
        head = 4;
    }
    memcpy(frame + head, mask, 4);
    for (size_t i = 0; i < size; i++)
        frame[head + 4 + i] = (char)(payload[i] ^ mask[i % 4]);
    send_bytes(c, frame, head + 4 + size);
}

static void send_event(struct client *c)
{
    char message[256];
    size_t number = schedule_sent++;
    int size = snprintf(message, sizeof message,
                        "42%zu[\"command\",{\"command\":\"scheduleEvent\",\"data\":"
                        "{\"eventName\":\"Event %zu\",\"time\":\"%s\",\"timeZone\":\"UTC\"}}]",
                        number, number, schedule_time);
    c->unanswered++;
    sent_at[number] = now();
    send_frame(c, 1, message, (size_t)size);
}

/* -- what comes in -- */

static bool starts(const char *text, size_t size, const char *prefix)
{
    size_t length = strlen(prefix);
    return size >= length && memcmp(text, prefix, length) == 0;
}

/* Copies what follows `key` in the text up to the next quotation mark. */
static void extract(const char *text, size_t size, const char *key, char *into, size_t room)
{
    const char *found = memmem(text, size, key, strlen(key));
    if (found == NULL)
        return;
    found += strlen(key);
    const char *end = memchr(found, '"', (size_t)(text + size - found));
    if (end != NULL && (size_t)(end - found) < room) {
        memcpy(into, found, (size_t)(end - found));
        into[end - found] = 0;
    }
}

/* When the byte before `end` of a client came: by its reads in a batch, else now. */
static int64_t came(struct client *c, uint64_t end)
{
    while (c->first_read != NONE && readings[c->first_read].end < end)
        c->first_read = readings[c->first_read].next;
    return c->first_read == NONE ? now() : readings[c->first_read].time;
}

static void check_settled(struct client *c)
{
    if (!c->settled && c->state == JOINED && c->reminders >= wanted) {
        c->settled = true;
        settled++;
    }
}

static void take_reminder(struct client *c, uint64_t end)
{
    c->reminders++;
    if (batch && c->reminders == 1)
        c->first = came(c, end);
    if (batch && c->reminders == wanted) {
        c->last = came(c, end);
        complete++;
    }
    check_settled(c);
}

static void take_answer(struct client *c, const char *text, size_t size)
{
    size_t number = strtoul(text, NULL, 10);
    if (number >= schedule_count) {
        lose(c, "an answer to nothing");
        return;
    }
    sent_at[number] = now() - sent_at[number];
    schedule_answered++;
    if (memmem(text, size, "\"success\"", 9) == NULL) {
        schedule_failed++;
        if (!problem[0])
            snprintf(problem, sizeof problem, "%.*s", (int)size, text);
    }
    c->unanswered--;
    if (schedule_sent < schedule_count)
        send_event(c);
}

/* An Engine.IO packet; `end` is the client's byte behind it. */
static void take_packet(struct client *c, const char *text, size_t size, uint64_t end)
{
    if (starts(text, size, "42[\"eventReminder\",")) {
        take_reminder(c, end);
    } else if (starts(text, size, "43")) {
        take_answer(c, text + 2, size - 2);
    } else if (starts(text, size, "42[\"cursor\",")) {
        if (c == clients)
            extract(text, size, "\"cursor\",\"", offset, sizeof offset);
    } else if (starts(text, size, "2")) {
        send_frame(c, 1, "3", 1);
    } else if (starts(text, size, "0")) {
        char packet[1024];
        c->state = JOINING;
        send_frame(c, 1, packet, (size_t)snprintf(packet, sizeof packet, "40%s", connect_payload));
    } else if (starts(text, size, "40") && c->state == JOINING) {
        if (c == clients)
            extract(text, size, "\"pid\":\"", pid, sizeof pid);
        c->state = JOINED;
        joined++;
        check_settled(c);
    } else if (!starts(text, size, "42") && !starts(text, size, "6")) {
        char why[128];
        snprintf(why, sizeof why, "unexpected packet %.*s", (int)(size < 80 ? size : 80), text);
        lose(c, why);
    }
}

/* The answer to the WebSocket handshake; whether it was whole. */
static bool take_upgrade(struct client *c, const char *data, size_t size)
{
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (end == NULL)
        return false;
    size_t head = (size_t)(end - data) + 4;
    if (!starts(data, size, "HTTP/1.1 101") || !memmem(data, head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28)) {
        char why[128];
        snprintf(why, sizeof why, "no WebSocket: %.*s", (int)strcspn(data, "\r"), data);
        lose(c, why);
        return false;
    }
    c->state = OPENING;
    c->start += head;
    c->parsed += head;
    return true;
}

static void parse(struct client *c)
{
    while (c->state != LOST) {
        const unsigned char *data = (const unsigned char *)c->buffer + c->start;
        size_t size = c->end - c->start, head = 2, length;
        if (c->state == UPGRADING) {
            if (!take_upgrade(c, (const char *)data, size))
                break;
            continue;
        }
        if (size < 2)
            break;
        length = data[1];
        if (length == 126) {
            head = 4;
            length = size < head ? SIZE_MAX - head : (size_t)data[2] << 8 | data[3];
        } else if (length > 126) {
            lose(c, "a masked or too long frame");
            break;
        }
        if (size < head + length)
            break;
        c->start += head + length;
        c->parsed += head + length;
        if (data[0] == 0x81)
            take_packet(c, (const char *)data + head, length, c->parsed);
        else if (data[0] == 0x89)
            send_frame(c, 10, (const char *)data + head, length);
        else
            lose(c, data[0] == 0x88 ? "closed by the server" : "a frame of an unknown kind");
    }
    if (c->start == c->end)
        c->start = c->end = 0;
}

static void note_reading(struct client *c, int64_t time)
{
    if (reading_count == reading_capacity) {
        reading_capacity = reading_capacity ? 2 * reading_capacity : 65536;
        readings = checked(realloc(readings, reading_capacity * sizeof *readings));
    }
    uint32_t number = (uint32_t)reading_count++;
    readings[number] = (struct reading){time, c->received, NONE};
    if (c->first_read == NONE)
        c->first_read = number;
    else
        readings[c->last_read].next = number;
    c->last_read = number;
}

static void readable(struct client *c)
{
    if (c->end == slot) {
        parse(c);
        memmove(c->buffer, c->buffer + c->start, c->end - c->start);
        c->end -= c->start;
        c->start = 0;
    }
    if (c->state == LOST)
        return;
    ssize_t size = recv(c->fd, c->buffer + c->end, slot - c->end, 0);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0) {
        lose(c, size < 0 ? strerror(errno) : c->end == slot ? "a frame is longer than its buffer" : "the server hung up");
        return;
    }
    c->end += (size_t)size;
    c->received += (uint64_t)size;
    if (batch)
        note_reading(c, now());
    else
        parse(c);
}

/* Waits for sockets that are ready and serves them; how many there were. */
static int serve(int milliseconds)
{
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll, events, EVENTS, milliseconds);
    for (int i = 0; i < ready; i++) {
        struct client *c = clients + events[i].data.u32;
        if (c->state != LOST && events[i].events & EPOLLOUT && c->out_size > 0)
            writable(c);
        if (c->state != LOST && events[i].events & ~(uint32_t)EPOLLOUT)
            readable(c);
    }
    return ready;
}

/* -- memory -- */

/* Gives each client a buffer of `size` bytes, in memory that is there already. */
static void make_buffers(size_t size)
{
    size_t bytes = capacity * size;
    char *fresh = checked(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    madvise(fresh, bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < bytes; i += 4096)
        fresh[i] = 0;
    for (size_t i = 0; i < count; i++) {
        struct client *c = clients + i;
        memcpy(fresh + i * size, c->buffer + c->start, c->end - c->start);
        c->end -= c->start;
        c->start = 0;
        c->buffer = fresh + i * size;
    }
    if (arena != NULL)
        munmap(arena, arena_size);
    arena = fresh;
    arena_size = bytes;
    slot = size;
}

/* -- commands -- */

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorts the values; the one below which that part of them lies. */
static double quantile_ms(int64_t *values, size_t size, double part)
{
    if (size == 0)
        return 0;
    qsort(values, size, sizeof *values, ascending);
    return (double)values[(size_t)(part * (double)(size - 1))] / 1e6;
}

static void begin_client(void)
{
    char request[256];
    int size = snprintf(request, sizeof request,
                        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                        ntohs(server.sin_port));
    struct client *c = clients + count;
    *c = (struct client){.buffer = arena + count * slot, .first_read = NONE, .last_read = NONE};
    count++;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) {
        lose(c, strerror(errno));
        return;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) {
        lose(c, strerror(errno));
        return;
    }
    watch(c, EPOLL_CTL_ADD, false);
    send_bytes(c, request, (size_t)size);
}

static void connect_clients(size_t more, size_t in_flight, uint32_t reminders, const char *payload)
{
    size_t before = settled, target = count + more;
    if (target > capacity) {
        struct client *grown = checked(realloc(clients, target * sizeof *clients));
        clients = grown;
        capacity = target;
        make_buffers(SLOT);
    }
    connect_payload = payload;
    wanted = reminders;
    int64_t begin = now();
    while (settled - before + lost < more && now() - begin < PATIENCE) {
        while (count < target && count + before + more - target - settled - lost < in_flight)
            begin_client();
        serve(100);
    }
    int64_t end = now();
    printf("{\"connected\": %zu, \"seconds\": %.6f", settled - before, (double)(end - begin) / 1e9);
}

static void schedule(size_t events, size_t connections, size_t window, const char *time)
{
    schedule_count = events;
    schedule_sent = schedule_answered = schedule_failed = 0;
    schedule_time = time;
    sent_at = checked(realloc(sent_at, events * sizeof *sent_at));
    int64_t begin = now();
    for (size_t i = 0; i < window; i++)
        for (size_t j = 0; j < connections && j < count && schedule_sent < events; j++)
            send_event(clients + j);
    while (schedule_answered < events && lost == 0 && now() - begin < PATIENCE)
        serve(100);
    int64_t end = now();
    printf("{\"answered\": %zu, \"failed\": %zu, \"seconds\": %.6f", schedule_answered, schedule_failed,
           (double)(end - begin) / 1e9);
    if (schedule_answered == events)
        printf(", \"median_ms\": %.3f, \"p99_ms\": %.3f", quantile_ms(sent_at, events, 0.5),
               quantile_ms(sent_at, events, 0.99));
}

/* Parses what came, one client after the other, as long as nothing else comes. */
static void parse_batch(bool whatever_comes)
{
    for (size_t i = 0; i < count; i++) {
        if (clients[i].end > clients[i].start && clients[i].state != LOST)
            parse(clients + i);
        if (!whatever_comes && serve(0) > 0)
            return;
    }
}

static void print_batch(int64_t due)
{
    uint64_t bytes = 0, reminders = 0;
    int64_t first = INT64_MAX, *lasts = checked(malloc((complete + 1) * sizeof *lasts));
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        struct client *c = clients + i;
        bytes += c->received;
        reminders += c->reminders;
        if (c->reminders > 0 && c->first < first)
            first = c->first;
        if (c->reminders >= wanted)
            lasts[size++] = c->last - due;
    }
    printf("{\"clients\": %zu, \"complete\": %zu, \"reminders\": %" PRIu64 ", \"bytes\": %" PRIu64, count, complete,
           reminders, bytes);
    if (size > 0)
        printf(", \"first_ms\": %.3f, \"median_ms\": %.3f, \"p99_ms\": %.3f, \"last_ms\": %.3f",
               (double)(first - due) / 1e6, quantile_ms(lasts, size, 0.5), quantile_ms(lasts, size, 0.99),
               quantile_ms(lasts, size, 1));
    free(lasts);
}

static void expect(uint32_t reminders, int64_t due_real, double seconds)
{
    make_buffers(SLOT + reminders * REMINDER);
    reading_count = complete = 0;
    wanted = reminders;
    for (size_t i = 0; i < count; i++) {
        struct client *c = clients + i;
        c->reminders = 0;
        c->parsed = 0;
        c->received = c->end;
        c->first_read = c->last_read = NONE;
    }
    puts("{\"ready\": true}");
    fflush(stdout);

    /* Stamps are monotonic; what the wall clock did meanwhile is told. */
    int64_t ahead = clock_ns(CLOCK_REALTIME) - now(), due = due_real - ahead, deadline = due + (int64_t)(seconds * 1e9);
    while (now() < due - SPIN)
        serve(10);
    batch = true;
    int64_t last = now(), parsed = last, moment = last, idle = 0, gap = 0;
    while (complete < count - lost && moment < deadline) {
        int64_t before = moment;
        bool idling = serve(0) == 0;
        moment = now();
        if (!idling) {
            last = moment;
            idle += gap;
            gap = 0;
        } else if (reading_count > 0) {
            gap += moment - before;
        }
        if (moment - last > QUIET || moment - parsed > UNPARSED) {
            parse_batch(moment - last <= QUIET);
            last = parsed = now();
        }
    }
    parse_batch(true);
    batch = false;
    for (size_t i = 0; i < count; i++)
        clients[i].first_read = NONE;
    print_batch(due);
    printf(", \"idle_ms\": %.3f, \"clock_step_ms\": %.3f", (double)idle / 1e6,
           (double)(clock_ns(CLOCK_REALTIME) - now() - ahead) / 1e6);
}

static void disconnect(void)
{
    for (size_t i = 0; i < count; i++) {
        if (clients[i].state != LOST)
            close(clients[i].fd);
        free(clients[i].out);
    }
    printf("{\"disconnected\": %zu", count - lost);
    count = joined = settled = lost = 0;
}

static void run(char *line)
{
    char text[1024] = "";
    size_t a, b, c;
    double seconds;
    int64_t due;
    line[strcspn(line, "\n")] = 0;
    problem[0] = 0;
    if (sscanf(line, "connect %zu %zu %zu %1023[^\n]", &a, &b, &c, text) >= 3)
        connect_clients(a, b, (uint32_t)c, text);
    else if (sscanf(line, "schedule %zu %zu %zu %1023[^\n]", &a, &b, &c, text) == 4)
        schedule(a, b, c, text);
    else if (sscanf(line, "expect %zu %" SCNd64 " %lf", &a, &due, &seconds) == 3)
        expect((uint32_t)a, due, seconds);
    else if (strcmp(line, "cursor") == 0)
        printf("{\"pid\": \"%s\", \"offset\": \"%s\"", pid, offset);
    else if (strcmp(line, "disconnect") == 0)
        disconnect();
    else
        printf("{\"unknown\": true");
    for (char *at = problem; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ')
            *at = '\'';
    printf(", \"lost\": %zu, \"problem\": \"%s\"}\n", lost, problem);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: load PORT\n", stderr);
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    epoll = epoll_create1(0);

    /* Between commands clients go on to answer pings. */
    char line[2048];
    struct pollfd ready[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = epoll, .events = POLLIN}};
    while (poll(ready, 2, -1) >= 0) {
        if (ready[1].revents)
            serve(0);
        if (ready[0].revents) {
            if (fgets(line, sizeof line, stdin) == NULL)
                return 0;
            run(line);
        }
    }
    return 1;
}
